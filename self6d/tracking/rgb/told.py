"""What a user is told where objects are followed without depth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from self6d.errors import InputError

if TYPE_CHECKING:  # the studio's window reads these words, and waits for no torch
    from self6d.datasets import FrameKey, Recording
    from self6d.scene import ObjectModel
    from self6d.tracking.work import Start

LOSES = (
    "Distances are less certain: what focal lengths or the CAD's size are off by, they are off by "
    "too. No depth confirms a pose, so that confidences are lower and fewer poses count as sure. "
    "What is lost is looked for by its paint, turned about as it last was, or by a network"
)

NO_SEARCH = "there is no depth, and searching whole images looks at depth"
OTHER_STARTS = (
    "place the object in one frame and start from that pose (--init POSE.json), or let a trained "
    "network find it (--from RUN)."
)


def told_without_depth(*, left_out: bool, shipped: bool = True) -> str:
    """One line for the start: that colours alone are followed, and what that loses.

    Args:
        left_out: by `track.use_depth`; False: there is none.
        shipped: by the refiner that ships; False: by that of the run that was named.
    """
    why = "depth is left out (track.use_depth)" if left_out else "the recording has no depth"
    whose = "the RGB refiner that ships" if shipped else "the RGB refiner that the run adapted"
    return f"{why}: objects are followed by colours alone, with {whose}. {LOSES}"


def check_search(recording: Recording, *, search: bool, use_depth: bool) -> None:
    """A search of whole images looks at depth; InputError where there is none to look at.

    Args:
        use_depth: `track.use_depth`; False: depth that is there is left out.
    """
    from self6d.datasets.splits import any_depth  # here alone, see above

    if not search:
        return
    if not any_depth(recording.frame, len(recording)):
        raise InputError(
            NO_SEARCH,
            path=recording.root,
            remedy=f"{OTHER_STARTS[0].upper()}{OTHER_STARTS[1:]}",
        )
    if not use_depth:
        raise InputError(
            "depth is left out (track.use_depth), and searching whole images looks at depth",
            path=recording.root,
            remedy=f"Search with track.use_depth=true, or without a search: {OTHER_STARTS}",
        )


def without_start(
    keys: Sequence[FrameKey],
    pieces: Sequence[Sequence[int]],
    models: Sequence[ObjectModel],
    starts: Collection[Start],
) -> list[str]:
    """In words, which objects stay lost where: nothing looks for them without depth or network.

    Args:
        pieces: frame indices of each scene, or piece of one.
    """
    texts = []
    for own in pieces:
        frames = set(own)
        placed = {start.target.model for start in starts if start.frame in frames}
        absent = [model.name for i, model in enumerate(models) if i not in placed]
        if absent:
            where = keys[own[0]]
            texts.append(
                f"no start pose of {', '.join(absent)} in scene {where.scene_id} from image "
                f"{where.image_id} on: lost there, since a search looks at depth. Place what is "
                "to be followed in one frame there, or use --from RUN"
            )
    return texts


def none_sure(confidences: Sequence[float], *, weak: float, focal_error: float) -> list[str]:
    """In words, what to do where a track has poses and is sure of none of them; else nothing.

    Args:
        confidences: of all poses. weak, focal_error: of the configuration.
    """
    if not confidences or max(confidences) >= weak:
        return []
    return [
        f"no pose is surer than {max(confidences):.2f}, and {weak:g} counts as sure: without depth "
        f"a camera that is known to {100 * focal_error:g} % (track.focal_error) leaves the "
        "distance open. If it is calibrated better, say so, such as --set track.focal_error=0.01; "
        "or come nearer"
    ]
