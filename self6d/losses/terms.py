"""The terms of L_self, listed once: what the objective, live weights, curves, X-ray and help show.

A new term is a row here, its weight and its two lines in `objective`, and its function. Nothing
heavy is imported, so that the window can list the terms before torch is there.
"""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One term.

    Attributes:
        name: field of `LossConfig` with its weight, and key of its values.
        title: what people read. compares, holds: what it looks at, and what of the pose that fixes.
        of_colour: it judges the rendering's colours.
        without: the paper's mean recall over LineMOD with the term left out (Table 1; 58.9 % with
            all), where the others cannot hold the pose alone; else "".
    """

    name: str
    title: str
    compares: str
    holds: str
    of_colour: bool = False
    without: str = ""


LISTED = (
    Term("mask", "mask", "predicted mask with rendered silhouette", "position in the image, size",
         without="0.1 %"),
    Term("ab", "colour (ab)", "colours without brightness", "front against back", of_colour=True),
    Term("ms_ssim", "MS-SSIM", "structure at several scales", "fine alignment", of_colour=True),
    Term("perceptual", "perceptual", "AlexNet features", "fine alignment under other light",
         of_colour=True),
    Term("geometry", "depth (geometry)", "sensor depth with rendered surface, by chamfer distance",
         "distance and orientation", without="6.4 %"),
)  # fmt: skip
TERMS = tuple(term.name for term in LISTED)
TITLES = {term.name: term.title for term in LISTED}
COLOUR_TERMS = tuple(term.name for term in LISTED if term.of_colour)

NOT_WITHOUT_COLOUR = ("ms_ssim", "perceptual")  # what adapt.pseudo_colour = false leaves out


def deaf(
    term: str, *, self_weight: float, pseudo: bool, pseudo_colour: bool, refresh_every: int
) -> str:
    """Why another weight of a term can change nothing from here on in stage 2; "" where it can.

    Args:
        self_weight, pseudo, pseudo_colour, refresh_every: as in [adapt]; `refresh_every` 0 where
            the poses learned from are not refined again.
    """
    if self_weight > 0:
        return ""
    if not pseudo:
        return "L_self is off (adapt.self_weight is 0)"
    if refresh_every == 0:
        return "L_self is off between refreshes, and the poses are not refined again in this run"
    if term in NOT_WITHOUT_COLOUR and not pseudo_colour:
        return "L_self is off between refreshes, and those go without it (adapt.pseudo_colour)"
    return ""


def as_markdown() -> str:
    """The terms as a table for the help."""
    rows = [f"| {t.title} | {t.compares} | {t.holds} |" for t in LISTED]
    return "\n".join(["| term | compares | holds |", "|---|---|---|", *rows])
