"""How sure a pose is that colours alone gave: from what the RGB refiner says, and no label."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

from self6d.tracking.evidence import Calibration

FAR = 10.0  # diameters at which `far` is 1


@dataclass(frozen=True)
class ColourEvidence:
    """Label-free measures of one pose, in [0, 1]; NaN where there is nothing to measure.

    Attributes:
        refiner: probability that the RGB refiner gives for "within a tenth of the diameter".
        steady: 1 - how far one more look would move the pose, in tenths of the diameter; least 0.
        together: likewise 1 - how far apart several starts ended; NaN of a single one.
        mask: of what the refiner takes for the object, the part that the rendering covers.
        visible: of the rendering, the part that the refiner takes for the object.
        color: how alike colours are there, against how alike they are expected to be; NaN for
            models without colour, and until a camera's paint is known.
        inside: of the rendering, the part within the image.
        far: distance in tens of diameters.
    """

    refiner: float
    steady: float
    together: float
    mask: float
    visible: float
    color: float
    inside: float
    far: float

    SHOWN: ClassVar = ("refiner", "mask")  # told at each step

    def values(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


LEFT = 0.07  # of the tenth of the diameter, what other errors leave to the camera's


def camera_allows(far: float, focal_error: float) -> float:
    """Probability that a camera's error puts no pose out of a tenth of the diameter, in [0, 1].

    A share of the focal length is the same share of the distance, and that many diameters.

    Args:
        far: distance in diameters. focal_error: standard deviation, as a share.
    """
    spread = focal_error * far
    return 1.0 if spread <= 0 else math.erf(LEFT / spread / math.sqrt(2))


# Both made by `self6d-studio experiment confidence --rgb --out OUT`, see there.
CONFIDENCE = Calibration(
    bias=-6.0,
    weights={"refiner": 4.0, "steady": 1.5, "together": 1.5, "mask": 2.0},
    means={"refiner": 0.8, "steady": 0.8, "together": 0.8, "mask": 0.9},
)
AGREEMENT = CONFIDENCE
