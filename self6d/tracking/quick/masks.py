"""Where an object is visible about its pose, found in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from self6d.geometry import backproject
from self6d.refinement.start_mask import mask_from_pose
from self6d.tracking.quick.host import to_host


class PoseMasks:
    """Visible masks of regions by rough poses, see `mask_from_pose`.

    Args:
        reach_m: how far a pose may be off. margin_m: depth that is as near is the object's.
    """

    def __init__(self, reach_m: float, margin_m: float, device: torch.device) -> None:
        self.reach_m, self.margin_m, self.device = reach_m, margin_m, device
        self._threads = ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="masks")

    def begin(
        self, rgb: Tensor, depth_m: Tensor, K: Tensor, drawn_m: Tensor
    ) -> Callable[[], Tensor]:
        """Begin with N masks; gives (N, h, w) bool.

        Args:
            rgb: (N, h, w, 3) uint8. depth_m, drawn_m: (N, h, w), metres, sensor's and rendered
                depth, 0 where there is none. K: (N, 3, 3), pixels of the regions.
        """
        rgb_, depth, camera, drawn = to_host(rgb, depth_m, K, drawn_m)()
        K = torch.from_numpy(camera)
        points = [backproject(torch.from_numpy(z), K).numpy() for z in (depth, drawn)]
        found = [
            self._threads.submit(self._mask, *inputs)
            for inputs in zip(rgb_, *points, camera[:, 0, 0].tolist(), strict=True)
        ]
        return lambda: torch.from_numpy(np.stack([f.result() for f in found])).to(self.device)

    def _mask(
        self, rgb: np.ndarray, seen: np.ndarray, drawn: np.ndarray, focal: float
    ) -> np.ndarray:
        mask = mask_from_pose(rgb, seen, drawn, self.reach_m, focal)
        # where the depth agrees, the colour of a table like the object's is no objection
        depth, sensor = drawn[..., 2], seen[..., 2]
        return mask | ((depth > 0) & (sensor > 0) & (np.abs(depth - sensor) < self.margin_m))
