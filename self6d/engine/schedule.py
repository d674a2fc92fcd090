"""How stage 1 trains, as one dataclass, and the learning rate it implies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from self6d.config_fields import Checked, Limits


@dataclass
class TrainConfig(Checked, section="train"):
    """How stage 1 trains."""

    steps: Annotated[int, Limits(1, 10**9)] = 8000
    """Optimiser steps."""

    minutes: Annotated[float, Limits(0, 10**6)] = 0.0
    """The run ends after so many minutes of work at the latest, pauses not counted, its learning
    rate falling to zero by then as it would by the last step; 0: steps alone decide."""

    batch: Annotated[int, Limits(1, 4096)] = 32
    """Images a step (and a GPU)."""

    lr: Annotated[float, Limits(0, 1)] = 8e-4
    """Learning rate of AdamW, while it is flat."""

    warmup: Annotated[int, Limits(0, 10**9)] = 200
    """Steps over which the learning rate rises."""

    flat: Annotated[float, Limits(0, 1)] = 0.72
    """Share of the steps with the full learning rate; a cosine to zero follows."""

    weight_decay: Annotated[float, Limits(0, 10)] = 0.02
    """Of weights; biases and norms have none."""

    clip: Annotated[float, Limits(0)] = 5.0
    """Largest gradient norm; 0: not clipped."""

    ema: Annotated[float, Limits(0, 1)] = 0.999
    """Decay of the averaged weights, which are the ones exported."""

    amp: Literal["auto", "bf16", "off"] = "auto"
    """Arithmetic: bfloat16 where allowed ("auto": on CUDA), or float32."""

    channels_last: bool = True
    """Memory layout that convolutions like."""

    compile: Literal["auto", "on", "off"] = "off"
    """torch.compile of the convolutional parts and of the making of images ("auto": on CUDA where
    it works, in runs of 2000 steps and 6 minutes or more). Takes minutes before the first step of a
    first run (more than two on a busy machine). Of the making alone it saved 2 % of a step on an
    H200, for 36 s; of the rest nothing has been measured, so it is off."""

    validate_every: Annotated[int, Limits(0, 10**9)] = 500
    """Steps between validations on synthetic images; 0: only at checkpoints."""

    validation_images: Annotated[int, Limits(1, 4096)] = 32
    """How many images validate."""


class Schedule(Protocol):
    """What the learning rate of a stage follows from: a `TrainConfig` or an `AdaptConfig`."""

    steps: int
    lr: float
    warmup: int
    flat: float


def learning_rate(step: int, config: Schedule, time_share: float = 0.0) -> float:
    """Linear warm-up, flat, then a cosine from `flat` of the steps down to zero.

    Args:
        step: steps made. time_share: share of the run's time that has passed, in [0, 1]; whichever
            of both is further along counts.
    """
    at = max(float(step), time_share * config.steps)
    rise = min(1.0, (at + 1) / max(config.warmup, 1))
    start = config.flat * config.steps
    left = max(config.steps - start, 1e-9)
    fall = 0.5 * (1 + math.cos(math.pi * min(max((at - start) / left, 0.0), 1.0)))
    return config.lr * rise * fall
