"""The network as a graph of fixed shapes: torch.export, and ONNX made from it.

Inputs: image (1, 3, H, W) float32 RGB in [0, 1]; K (1, 3, 3) float32, pixels, pixel centres at
whole numbers (OpenCV's). Outputs, D detections: the best instance of each of the M objects, then
the best of the further ones (`network.instances`), N - 1 or 8 of all objects together, whichever is
more; D = M for N = 1. boxes (D, 4) x0 y0 x1 y1, pixels; scores (D,), 0 where there is no further
one; classes (D,) int64, BOP object numbers; R (D, 3, 3); t (D, 3), metres, model to camera.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from self6d.errors import MissingDependencyError
from self6d.loading import collector_rests
from self6d.network import PoseNetwork
from self6d.refinement.rgb.network import RefinerNetwork

OUTPUTS = ("boxes", "scores", "classes", "R", "t")
REFINER_INPUTS = ("crop", "rendered", "mask", "depth", "object_index")
REFINER_OUTPUTS = ("rotation", "shift", "distance", "confidence")
_OPSET = 18


class FixedNetwork(nn.Module):
    """`PoseNetwork` with one image, OpenCV's K and tensors out; see the module for shapes."""

    classes: Tensor
    half_pixel: Tensor

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("classes", torch.tensor(network.object_ids), persistent=False)
        self.register_buffer("half_pixel", self.shift(), persistent=False)

    @staticmethod
    def shift() -> Tensor:
        """(3, 3), what makes OpenCV's K one whose pixel corners lie at whole numbers."""
        shift = torch.zeros(3, 3)
        shift[:2, 2] = 0.5
        return shift

    def forward(self, image: Tensor, K: Tensor) -> tuple[Tensor, ...]:
        score, box, R, t, _, _, index = self.network.forward_export(image, K + self.half_pixel)
        return box[0], score[0].clamp_min(0), self.classes[index[0]], R[0], t[0]


def export_program(network: PoseNetwork, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """The network, in evaluation mode, traced for images of (height, width)."""
    module = FixedNetwork(copy.deepcopy(network)).eval().requires_grad_(False)
    device = next(network.parameters()).device
    inputs = (torch.rand(1, 3, *size, device=device), _plausible_K(size).to(device))
    with torch.no_grad(), warnings.catch_warnings(), collector_rests():
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs)


def save_onnx(program: torch.export.ExportedProgram, path: Path) -> Path:
    """Translate an exported program to ONNX, one file with its weights; see `require_onnx`."""
    return _save(program, path, ["image", "K"], list(OUTPUTS))


def save_refiner_onnx(network: RefinerNetwork, path: Path) -> Path:
    """Write the network of an RGB refiner as ONNX, for any number N of poses; see `require_onnx`.

    Inputs: crop, rendered (N, 3, S, S) float32 RGB in [0, 1]; mask (N, S, S), of the rendering;
    depth (N, S, S), diameters beyond the object's middle, 0 outside the mask; object_index (N,)
    int64, place in model.json's "refiner" "objects", 0 if that is empty. Outputs: rotation (N, 6),
    shift (N, 2), distance (N,), as `Change` has them; confidence (N,) in [0, 1].
    """
    side, two = network.config.size, 2
    device = next(network.parameters()).device
    pictures = [torch.rand(two, 3, side, side, device=device) for _ in "ab"]
    maps = [torch.rand(two, side, side, device=device) for _ in "ab"]
    inputs = (*pictures, *maps, torch.zeros(two, dtype=torch.int64, device=device))
    many = {0: torch.export.Dim("poses", min=1, max=4096)}
    module = _Changes(network).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, inputs, dynamic_shapes=((many,) * 5,))
    return _save(program, path, list(REFINER_INPUTS), list(REFINER_OUTPUTS))


class _Changes(nn.Module):
    """A refiner's network with plain tensors out."""

    def __init__(self, network: RefinerNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        change = self.network(*inputs)
        return change.rotation, change.shift, change.distance, change.confidence.sigmoid()


def _save(
    program: torch.export.ExportedProgram, path: Path, inputs: list[str], outputs: list[str]
) -> Path:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), collector_rests():
            warnings.simplefilter("ignore")
            translated = torch.onnx.export(
                program,
                dynamo=True,
                input_names=inputs,
                output_names=outputs,
                opset_version=_OPSET,
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert translated is not None  # dynamo=True without a path returns the program
    translated.save(str(path), external_data=False)
    return path


def missing_for_onnx() -> list[str]:
    """Packages that writing ONNX needs and that are not installed."""
    return [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]


def require_onnx() -> None:
    """Raise MissingDependencyError if ONNX cannot be written here."""
    missing = missing_for_onnx()
    if missing:
        raise MissingDependencyError(
            f"writing ONNX needs {' and '.join(missing)}",
            remedy='Install them: pip install "self6d-studio[onnx]", or export without ONNX.',
        )


def _plausible_K(size: tuple[int, int]) -> Tensor:
    height, width = size
    f = float(max(size))
    return torch.tensor([[[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]])
