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


LEFT = 0.08  # of the tenth of the diameter, what other errors leave to the camera's


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
    bias=-12.639,
    weights={
        "refiner": 4.667,
        "steady": 0.706,
        "together": 0.354,
        "mask": 1.905,
        "visible": 1.451,
        "color": 2.885,
        "inside": 6.332,
        "far": -5.102,
    },
    means={
        "refiner": 0.703,
        "steady": 0.685,
        "together": 0.356,
        "mask": 0.963,
        "visible": 0.732,
        "color": 0.987,
        "inside": 0.999,
        "far": 0.354,
    },
)
AGREEMENT = Calibration(
    bias=-18.533,
    weights={
        "refiner": 6.74,
        "steady": -0.804,
        "together": 0.872,
        "mask": 5.729,
        "visible": 1.068,
        "color": 4.726,
        "inside": 7.147,
        "far": -0.127,
    },
    means={
        "refiner": 0.629,
        "steady": 0.641,
        "together": 0.319,
        "mask": 0.961,
        "visible": 0.685,
        "color": 0.824,
        "inside": 0.999,
        "far": 0.372,
    },
)
