"""Settings of pose optimisation, the section [optimize]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from self6d.config_fields import Checked, Limits


@dataclass
class OptimizeConfig(Checked, section="optimize"):
    """How a pose is optimised on one image."""

    steps: Annotated[int, Limits(1, 100_000)] = 200
    """Adam steps."""
    rotation_step: Annotated[float, Limits(0, 10)] = 0.02
    """First step size of the rotation, radians; falls to zero along a cosine."""
    translation_step: Annotated[float, Limits(0, 10)] = 0.02
    """First step size of the translation, in diameters of the object (4 mm for 20 cm)."""
    mask_end: Annotated[float, Limits(0, 1)] = 1.0
    """What is left of the mask term's weight at the last step, falling with the step sizes. The
    mask finds the object from afar; close by, its edge is coarser than depth and colour."""
    region: Annotated[int, Limits(16, 2048)] = 256
    """Side of the square image region that is rendered and compared, pixels."""
    padding: Annotated[float, Limits(0.1, 10)] = 1.4
    """Side of the region against the longer side of the object's box."""
    flips: bool = True
    """Also start from half turns about the model's three axes; the colour terms choose."""
    starts: Annotated[int, Limits(1, 4096)] = 1
    """Starts per pose (and per flip), the first one unperturbed."""
    start_angle: Annotated[float, Limits(0, 10)] = 0.15
    """Standard deviation of the perturbed starts' rotation, radians."""
    start_shift: Annotated[float, Limits(0, 10)] = 0.03
    """Standard deviation of the perturbed starts' translation, diameters."""
    race: Annotated[float, Limits(0, 1)] = 0.15
    """Share of the steps after which only the starts of an image that may still win go on; 1: all
    of them go on, as on a GPU where they are 32 or fewer, which gains nothing there."""
    chunk: Annotated[int, Limits(1, 4096)] = 64
    """Starts optimised at once where the detections of many frames are refined."""
    graph: bool = True
    """Capture the step as one CUDA graph on a GPU."""

    @property
    def starts_each(self) -> int:
        """Starts of one pose, those from its half turns included."""
        return (4 if self.flips else 1) * self.starts
