"""MS-SSIM and the perceptual distance as their published packages compute them.

`loss.reference` chooses them instead of the fast paths of `ms_ssim` and `perceptual*`: the same
values and gradients from code that others wrote, at several times the cost. They run wherever
torch does, but not inside a CUDA graph: the packages copy constants to the device at every call.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor, nn

from self6d.errors import MissingDependencyError
from self6d.losses.ms_ssim import ms_ssim_window
from self6d.losses.perceptual import AlexNetFeatures


def published_ms_ssim(source: Tensor, images: Tensor) -> Tensor:
    """MS-SSIM by pytorch-msssim, Self6D equation (6).

    Its slope where a scale's mean contrast is negative is 0 times infinity. Such channels are 0
    with zero gradient here, as in `ms_ssim_to`.

    Args:
        source, images: (N, C, H, W) float in [0, 1].

    Returns:
        (N,), 1 for equal images, at least 0. Differentiable in `images`.
    """
    options: dict[str, Any] = {
        "data_range": 1.0,
        "size_average": False,
        "win_size": ms_ssim_window(*images.shape[-2:]),
    }
    n, channels = images.shape[:2]
    with torch.no_grad():  # twice, since a single channel would be taken for a dimension too many
        x, y = (z.reshape(n * channels, 1, *z.shape[2:]).expand(-1, 2, -1, -1).contiguous()
                for z in (source, images))  # fmt: skip
        alike = (ms_ssim(x, y, **options) > 0).view(n, channels)
    safe = torch.where(alike[..., None, None], images, source)  # the others: 1 by construction
    return ms_ssim(source, safe, **options) - (~alike).to(images.dtype).mean(1)


class PublishedPerceptual(nn.Module):
    """Self6D equation (7) by the package lpips: AlexNet without LPIPS' learned weights.

    Args:
        features: whose convolutions it takes, so that neither path downloads any.

    Raises:
        MissingDependencyError: lpips is not installed.
    """

    def __init__(self, features: AlexNetFeatures) -> None:
        super().__init__()
        import self6d.torchvision_guard  # noqa: F401  (before torchvision)

        try:
            import lpips
        except ImportError as error:
            raise MissingDependencyError(
                "loss.reference needs the package lpips",
                remedy="Run `pip install lpips`, or set loss.reference to false.",
            ) from error
        with warnings.catch_warnings(), torch.device("meta"):  # nothing drawn, nothing fetched
            warnings.simplefilter("ignore")  # lpips calls torchvision by names of long ago
            self.network = lpips.LPIPS(net="alex", lpips=False, pnet_rand=True, verbose=False)
        names = [name for name, _ in self.network.net.named_parameters()]
        state = dict(zip(names, features.tensors(), strict=True))
        self.network.net.load_state_dict(state, assign=True)
        self.network.requires_grad_(False)

    def forward(self, source: Tensor, rendered: Tensor) -> Tensor:
        """Distance of images (N, 3, H, W) float in [0, 1], RGB: (N,), between 0 and 10."""
        return self.network(source, rendered, normalize=True)[:, 0, 0, 0]
