"""Poses refined on colour images alone, look by look, with a confidence each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.network.outputs import Detections
from self6d.refinement.regions import ModelBoxes
from self6d.refinement.rgb.captured import PLACES, CapturedLooks
from self6d.refinement.rgb.look import RefinerScene, diameters, origin_of, position_of, take_look
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.weights import load_refiner
from self6d.rendering import pack_models
from self6d.scene import ObjectModel

NEAR_M = 0.01  # poses nearer to the camera, or behind it, are left as they are


@dataclass(frozen=True)
class RgbRefined:
    """N refined poses.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres.
        confidence: (N,), probability that the pose is within a tenth of the diameter, as learned
            on synthetic images; 0 where nothing could be rendered.
        last_move: (N,), diameters that the last look still moved the object's middle; a pose that
            keeps moving is not yet right.
    """

    R: Tensor
    t: Tensor
    confidence: Tensor
    last_move: Tensor


class RgbRefiner:
    """A trained refiner with the models it renders.

    Args:
        network: trained; put into evaluation mode.
        models: of the objects, in the order of `object_index`.
        object_ids: objects the network has an output layer of each for; empty: all share one.
        chunk: instances compared at a time, bounds the memory.
        graph: on a GPU, run all looks of a call as one CUDA graph, see `CapturedLooks`.

    Attributes:
        outputs: (M,) int64, the output layer of each model.
    """

    def __init__(
        self,
        network: RefinerNetwork,
        models: Sequence[ObjectModel],
        device: torch.device | str = "cpu",
        *,
        object_ids: Sequence[int] = (),
        chunk: int = 64,
        graph: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.packed = pack_models(models, self.device)
        self.diameter = diameters(models, self.device)
        self.object_ids = list(object_ids)
        outputs = [self.object_ids.index(m.object_id) if object_ids else 0 for m in models]
        self.outputs = torch.tensor(outputs, device=self.device)
        self.chunk, self.graph = chunk, graph
        self._captured: tuple[RefinerNetwork, CapturedLooks] | None = None

    @classmethod
    def load(
        cls, source: str | Path, models: Sequence[ObjectModel], device: torch.device | str = "cpu",
        *, beside: bool = False,
    ) -> RgbRefiner:  # fmt: skip
        """The refiner of a run folder or file, for these models.

        Args:
            beside: it serves the network it learned beside; else its looks alone count, whatever
                `RefinerConfig.share` was measured with that one.

        Raises:
            InputError: it was trained on given objects, and one of `models` is not among them.
        """
        network, ids = load_refiner(source)
        if not beside:
            network.config = replace(network.config, share=1.0)
        missing = [model.object_id for model in models if ids and model.object_id not in ids]
        if missing:
            raise InputError(
                f"refiner does not know object {missing[0]}",
                path=Path(source),
                remedy="Name one trained on all objects of the run, or on none (refiner-any).",
            )
        return cls(network, models, device, object_ids=ids)

    @torch.no_grad()
    def refine(
        self,
        images: Tensor,
        K: Tensor,
        image_index: Tensor,
        object_index: Tensor,
        R: Tensor,
        t: Tensor,
        looks: int | None = None,
    ) -> RgbRefined:
        """Refine N poses.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], RGB. K: (B, 3, 3), pixels.
            image_index, object_index: (N,) int64. R: (N, 3, 3). t: (N, 3), metres.
            looks: how often; None: as configured.
        """
        if len(R) == 0:
            return RgbRefined(R, t, R.new_zeros(0), R.new_zeros(0))
        looks = self.network.config.looks if looks is None else looks
        most = self.chunk
        run: Callable[..., tuple[Tensor, ...]] = self._refine
        if self.graph and self.device.type == "cuda":
            run, most = self._in_graph, min(most, PLACES[-1])
        rows = torch.arange(len(R), device=self.device).split(most)
        parts = [
            run(images, K, image_index[part], object_index[part], R[part], t[part], looks)
            for part in rows
        ]
        fields = zip(*parts, strict=True)
        return RgbRefined(*(torch.cat(values) for values in fields))

    def refine_predicted(
        self, images: Tensor, K: Tensor, found: Detections, looks: int | None = None
    ) -> tuple[Detections, Tensor]:
        """Refine the poses that the network it learned beside predicts in these images.

        Network and looks judge distances by different means and err apart: the pose moves along its
        ray to a distance between both, log z = s log z_looks + (1 - s) log z_network, where s is
        `RefinerConfig.share`.

        Args:
            images, K, looks: as `refine`. found: N detections in these images.

        Returns:
            the detections with R and t refined, and `RgbRefined.confidence`, (N,).
        """
        index, own = found.object_index, (found.R, found.t)
        refined = self.refine(images, K, found.image_index, index, *own, looks)
        t = self.at_shared_distance(index, own, (refined.R, refined.t))
        return replace(found, R=refined.R, t=t), refined.confidence

    def at_shared_distance(
        self, index: Tensor, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Translations of refined poses at the distance of `refine_predicted`: (N, 3), metres.

        Args:
            index: (N,) int64, of objects. before, after: R (N, 3, 3) and t (N, 3), metres, of the
                network and of the looks.
        """
        (R, t), share = after, self.network.config.share
        if share == 1 or len(R) == 0:
            return t
        centre = ModelBoxes.of(self.packed).centre[index]
        z, there = position_of(*before, centre)[:, 2], position_of(R, t, centre)
        ahead = (z > NEAR_M) & (there[:, 2] > NEAR_M)
        ratio = torch.where(ahead, z / there[:, 2], 1.0) ** (1 - share)
        return origin_of(R, there * ratio[:, None], centre)

    def _in_graph(self, *inputs: Any) -> tuple[Tensor, ...]:
        """`_refine`, captured; stage 2 exchanges the network."""
        if self._captured is None or self._captured[0] is not self.network:
            self._captured = self.network, CapturedLooks(self._refine)
        *tensors, looks = inputs
        return self._captured[1](looks, *tensors)

    def _refine(
        self, images: Tensor, K: Tensor, image_index: Tensor, index: Tensor, R: Tensor, t: Tensor,
        looks: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        K_of = K[image_index]
        one_each: Tensor | None = image_index
        if len(images) > 1:  # once, not at each look
            images, one_each = images[image_index], None
        scene = RefinerScene(
            images, K_of, one_each, self.packed, self.diameter, index, self.outputs[index]
        )
        cuda = self.device.type == "cuda"
        confidence = move = R.new_zeros(len(R))
        middle = position_of(R, t, scene.centre)
        ahead = middle[:, 2] > NEAR_M
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            for _ in range(looks):
                look = take_look(self.network, scene, R, t)
                sound = ahead & torch.isfinite(look.t).all(1) & torch.isfinite(look.R).all((1, 2))
                R = torch.where(sound[:, None, None], look.R, R)
                t = torch.where(sound[:, None], look.t, t)
                confidence = torch.where(sound, look.change.confidence.sigmoid(), 0.0)
                now = position_of(R, t, scene.centre)
                move = (now - middle).norm(dim=1) / self.diameter[index]
                middle = now
        return R, t, confidence, move
