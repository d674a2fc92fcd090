"""The supervised upper bound: the same network trained on the poses that stage 2 must not see.

For comparison only. It is apart from stage 2, which has no way to a label.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from self6d.datasets import Recording, UnlabelledFrames, upper_bound_truth
from self6d.errors import InputError
from self6d.network import PoseNetwork
from self6d.scene import ObjectModel
from self6d.stage2.config import AdaptConfig
from self6d.stage2.posed_frames import PosedFramesTask, PosedObject


class UpperBoundTask(PosedFramesTask):
    """Fine-tunes a network with the true poses of the frames that stage 2 adapts to.

    Args:
        network, models, adapt, seed, device: as `PosedFramesTask`, without synthetic images.
        dataset: frames with poses (those set aside for this bound included).

    Raises:
        InputError: no frame has a pose of the network's objects.
    """

    name = "upper bound"

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        dataset: Recording,
        adapt: AdaptConfig,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        truth = upper_bound_truth(dataset)
        place = {object_id: i for i, object_id in enumerate(network.object_ids)}
        poses = {
            number: [
                PosedObject(place[t.object_id], t.pose)
                for t in truth(number)
                if t.object_id in place
            ]
            for number in range(len(dataset))
        }
        if not any(poses.values()):
            raise InputError("no frame has a pose of the network's objects", path=dataset.root)
        super().__init__(
            network, models, UnlabelledFrames(dataset), poses, adapt,
            complete=True, seed=seed, device=device,
        )  # fmt: skip
