"""Prediction on a GPU as one CUDA graph: its kernels take less time than launching each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from self6d.cuda_graph import capture
from self6d.network.net import PoseNetwork
from self6d.network.outputs import Detections

PLACES = 8  # boxes that a graph looks at, given ones
MOST_SIZES = 4  # image sizes with a graph, each of which keeps its memory; others run without


class CapturedForward:
    """`PoseNetwork.forward_export`, captured once for each image size on a GPU.

    A graph finds weights by their address: changing them in place, as `load_state_dict` does, is
    seen; a network moved or converted after its first use here is not.

    Args:
        network: in evaluation mode, on its final device. On a CPU nothing is captured.
        bfloat16: convolve in it, the kernels being converted in place; poses are decoded in float32
            all the same. On a CPU with AMX it takes under half the time, on others more.
    """

    def __init__(self, network: PoseNetwork, bfloat16: bool = False) -> None:
        self.network = network
        self.bfloat16 = bfloat16
        if next(network.parameters()).is_cuda:  # a quarter less time; in place, values stay
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if bfloat16:  # autocast alone would convert them at every call
            for part in network.modules():
                if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                    part.to(torch.bfloat16)
        self._graphs: dict[tuple[int, ...], Callable[[Tensor, Tensor], tuple[Tensor, ...]]] = {}
        self._regions: dict[tuple[int, ...], Callable[..., Detections]] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor, K: Tensor) -> tuple[Tensor, ...]:
        """As `forward_export`; on a GPU the next call writes over what this one returned."""
        if not images.is_cuda:
            with self._arithmetic(images):
                return self.network.forward_export(images, K)
        shape, count = tuple(images.shape), len(images)
        if shape not in self._graphs:
            larger = [s for s in self._graphs if s[1:] == shape[1:] and s[0] > count]
            if larger:  # filled up with the last image: sooner done than captured
                fill = [-1] * (min(larger)[0] - count)
                whole = self(torch.cat((images, images[fill])), torch.cat((K, K[fill])))
                return tuple(part[:count] for part in whole)
            if len(self._graphs) >= MOST_SIZES:
                with self._arithmetic(images):
                    return self.network.forward_export(images, K)
            self._graphs[shape] = self._captured(images, K)
        return self._graphs[shape](images, K)

    def predict(
        self,
        images: Tensor,
        K: Tensor,
        *,
        score_threshold: float = 0.3,
        max_per_image: int | None = None,
    ) -> Detections:
        """As `PoseNetwork.predict`, whose form is fixed: where its places for further instances are
        all taken there may be more of them, and the network itself is asked about that image."""

        def asked(images: Tensor, K: Tensor) -> Detections:
            with self._arithmetic(images):
                return self.network.predict(
                    images, K, score_threshold=score_threshold, max_per_image=max_per_image
                )

        if not images.is_cuda:  # it looks at the regions of likely objects alone
            return asked(images, K)
        outputs = self(images, K)
        found = likely_detections(outputs, score_threshold, max_per_image)
        full = taken(outputs[0], len(self.network.object_ids))
        if not full.any():
            return found
        rows = full.nonzero()[:, 0]
        again = asked(images[rows], K[rows])
        again = replace(again, image_index=rows[again.image_index])
        both = Detections.cat([found[~full[found.image_index]], again])
        return both[both.image_index.argsort(stable=True)]

    @torch.no_grad()
    def poses_for_boxes(
        self, images: Tensor, K: Tensor, box: Tensor, object_index: Tensor
    ) -> Detections:
        """As `PoseNetwork.poses_for_boxes`, of boxes in one image: (1, 3, H, W), (1, 3, 3),
        (N, 4), (N,).

        On a GPU a graph has `PLACES` boxes; more are looked at without one.
        """
        form, count = tuple(images.shape), len(box)
        if images.is_cuda and 0 < count <= PLACES:
            if form not in self._regions and len(self._regions) < MOST_SIZES:
                self._regions[form] = self._captured_regions(images, K)
            if form in self._regions:
                return self._regions[form](images, K, box, object_index)
        with self._arithmetic(images):
            first = torch.zeros_like(object_index)
            return self.network.poses_for_boxes(images, K, box, first, object_index)

    def _captured_regions(self, images: Tensor, K: Tensor) -> Callable[..., Detections]:
        whole = images.new_tensor([0.0, 0.0, images.shape[-1], images.shape[-2]])
        kept = (images.clone(), K.clone(), whole.repeat(PLACES, 1))
        index = torch.zeros(PLACES, dtype=torch.long, device=images.device)
        first = torch.zeros_like(index)
        with torch.cuda.device(images.device), self._arithmetic(images):
            replay, found = capture(lambda: self.network.poses_for_boxes(*kept, first, index))

        def run(images: Tensor, K: Tensor, box: Tensor, object_index: Tensor) -> Detections:
            for place, value in zip((*kept, index), (images, K, box, object_index), strict=True):
                place[: len(value)].copy_(value)  # boxes beyond are those of an earlier call
            replay()
            return Detections.cat([found[: len(box)]])

        return run

    def _arithmetic(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _captured(self, images: Tensor, K: Tensor) -> Callable[[Tensor, Tensor], tuple]:
        kept = (images.clone(), K.clone())
        with torch.cuda.device(images.device), self._arithmetic(images):
            replay, outputs = capture(lambda: self.network.forward_export(*kept))

        def run(images: Tensor, K: Tensor) -> tuple[Tensor, ...]:
            kept[0].copy_(images)
            kept[1].copy_(K)
            replay()
            return outputs

        return run


def taken(score: Tensor, objects: int) -> Tensor:
    """(B,) bool, whether all places (B, D) for further instances of the fixed form are taken."""
    further = score[:, objects:]
    return (further != 0).all(1) & (further.shape[1] > 0)


def likely_detections(
    outputs: Sequence[Tensor], score_threshold: float, max_per_image: int | None = None
) -> Detections:
    """Copies of what `PoseNetwork.forward_export` says about objects that are likely there.

    Args:
        outputs: score (B, D), box, R, t, mask_logits, roi_box, object index, as it returns them.
        score_threshold: detections below are dropped.
        max_per_image: most detections per image, best first; None: all.
    """
    *parts, index = outputs
    score = parts[0]
    count = score.shape[1] if max_per_image is None else max_per_image
    best, place = score.topk(min(count, score.shape[1]), dim=1)
    image_index, slot = (best > score_threshold).nonzero(as_tuple=True)
    at = (image_index, place[image_index, slot])
    return Detections(image_index, index[at], *(part[at] for part in parts))
