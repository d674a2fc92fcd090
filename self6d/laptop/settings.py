"""How `quick` sets its trainings: for two CPU cores, or for the GPU there is."""

from __future__ import annotations

from typing import Any

from self6d.events import in_words
from self6d.laptop.order import AFTER, BEFORE, STAGE_1, STAGE_2_GPU, TITLES
from self6d.run_config import build_config

STEPS = {"train.steps": 1500, "adapt.steps": 2500}
"""What two idle cores do in about 38 minutes; the presets' own are for trying out."""
REFINER = {"adapt.refiner": "shipped", "adapt.refiner_every": 4}
"""The RGB refiner learns beside the network: of all that was tried it brings most
(`docs/results.md`)."""

OF_PHASE = {BEFORE: "train.steps", AFTER: "adapt.steps"}
STEP_S = {"train.steps": 0.31, "adapt.steps": 0.61}
"""Seconds a step without `EXTRAS`, told before a start: `quick` took 8.6 and 21.0 minutes for
mustard0 on two idle cores before the refiner learned beside it, which adds a third to the second
(`docs/results.md`)."""
EXPORT_S = {True: 20.0, False: 3.0}
"""Seconds that the export takes on two idle cores, with ONNX and without."""
JUDGING_S = 0.34
"""Seconds that judging the refiner on a frame takes at the end of the second training, on two idle
cores; nearly nothing on a GPU."""
EXTRAS = 1.1  # previews may take a tenth of the time (loop.preview_share)


def own_settings(height: int, given: dict[str, Any]) -> dict[str, Any]:
    """What `quick` sets: steps, and the height that images are trained and predicted at.

    Args:
        height: of the recording's images, pixels. given: settings that count before them.
    """
    rows = min(height, build_config(STAGE_1, given, stage=1).synthesis.height)
    return STEPS | REFINER | {"synthesis.height": rows, "network.image_height": rows}


def learning_settings(preset: str) -> dict[str, Any]:
    """What `quick` sets where there is a network already, whose image height stays its own."""
    if preset == STAGE_2_GPU:
        return {}
    return {"adapt.steps": STEPS["adapt.steps"]} | REFINER


def settings_of_stages(height: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`own_settings` as the presets of stage 1 (`STAGE_1`) and stage 2 (`STAGE_2`) take them."""
    own = own_settings(height, {})
    first = {key: value for key, value in own.items() if not key.startswith("adapt.")}
    return first, {key: value for key, value in own.items() if not key.startswith("train.")}


def expected() -> dict[str, str]:
    """A line for each training of `quick`, by phase: steps, and about how long (see `STEP_S`)."""
    return {
        phase: f"{TITLES[phase]}: {STEPS[key]} steps, {in_words(STEPS[key] * STEP_S[key] * EXTRAS)}"
        for phase, key in OF_PHASE.items()
    }
