"""`live`: a network on what a camera sees, image by image."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from self6d.arguments import checked
from self6d.config_fields import Limits
from self6d.events import Listener, Note
from self6d.geometry import matrix_to_quaternion
from self6d.jobs.prepare import resolve_device
from self6d.live.detection_bag import DetectionBag
from self6d.live.film import Film, drawn
from self6d.live.follow import Follower, Seen
from self6d.live.record import Recorder
from self6d.live.sources import Shot, shots
from self6d.packaging import load_trained
from self6d.refinement.rgb.weights import holds_refiner
from self6d.runs.load_network import TrainedNetwork
from self6d.scene import ObjectModel

LATELY = 30  # images that the rate is averaged over
UNREFINED = (
    "poses are the network's own: the refiner beside it, which predict --refine rgb and a "
    "package's example.py ask, is not asked here"
)


@dataclass(frozen=True, eq=False)
class View:
    """One image and what was seen in it.

    Attributes:
        number: of the image, from 0. seen: every object that was ever seen, lost ones included.
        rate: images a second lately; 0 for the first.
        models: of the objects that the network knows.
    """

    number: int
    shot: Shot
    seen: tuple[Seen, ...]
    rate: float
    models: Sequence[ObjectModel]

    def picture(self) -> np.ndarray:
        """The image with boxes, axes and words, (H, W, 3) uint8."""
        return drawn(self.shot, self.seen, self.models, self.rate)

    def row(self) -> dict[str, Any]:
        """What JSON can hold: one line of the command's output."""
        return {
            "image": self.number,
            "name": self.shot.name,
            "time_ns": self.shot.time_ns,
            "rate": round(self.rate, 2),
            "objects": [_row(seen, turn) for seen, turn in zip(self.seen, self._turns())],
        }

    def _turns(self) -> list[list[float] | None]:
        """Rotations of all that is seen as quaternions, w first; None of what is lost."""
        placed = [seen.R for seen in self.seen if seen.R is not None]
        if not placed:
            return [None] * len(self.seen)
        stacked = torch.from_numpy(np.stack(placed).astype(np.float64))
        turns = iter(matrix_to_quaternion(stacked).tolist())
        return [None if seen.R is None else next(turns) for seen in self.seen]


@checked
def live(
    network: str | Path,
    source: str | Path,
    *,
    camera: str | Path | None = None,
    score: Annotated[float, Limits(0, 1)] = 0.3,
    every: int = 1,
    images: int | None = None,
    record: str | Path | None = None,
    film: str | Path | None = None,
    bag: str | Path | None = None,
    device: str | torch.device = "auto",
    listener: Listener | None = None,
) -> Iterator[View]:
    """Poses in the images of a camera, a video, a folder or a bag, as they come.

    Args:
        network: run folder, or exported package.
        source: number of a camera, "realsense", video file, folder of images or recording.
        camera: camera file, for a camera, a video or bare images; None: what a recording states,
            or the camera file beside a video or bare images; else the network's own, with a
            warning.
        score: lowest score of a detection. every: images from one look of the detector to the next;
            in between the poses are followed.
        images: end after so many; None: with the source.
        record: folder to make with what is seen, a recording of its own.
        film: video file to make, with the poses drawn in.
        bag: bag of ROS 2 to make, with detections and tf, see `DetectionBag`.

    Returns:
        an iterator; closing it (or its end) completes the files. Nothing is kept from image to
        image but the last poses.

    Raises:
        InputError: source, camera or network cannot be used, or a file to make exists.
    """
    place = resolve_device(device)
    known = load_trained(network, place)
    if listener is not None and holds_refiner(network):
        listener(Note("info", UNREFINED))
    follower = Follower(known.network, known.models, place, score=score, every=every)
    stream = shots(source, camera, known.camera, listener)
    if listener is not None:
        stream = _told_of_height(stream, known, listener)
    return _views(follower, stream, images, record, film, bag, listener)


def _told_of_height(
    stream: Iterator[Shot], known: TrainedNetwork, listener: Listener
) -> Iterator[Shot]:
    """The stream; what its first image's height lets expect is said."""
    with closing(stream):  # type: ignore[type-var]
        for number, shot in enumerate(stream):
            if number == 0 and (unlike := known.unlike_learned(shot.camera.height)):
                listener(Note("warning", unlike))
            yield shot


def _views(
    follower: Follower,
    stream: Iterator[Shot],
    images: int | None,
    record: str | Path | None,
    film: str | Path | None,
    bag: str | Path | None,
    listener: Listener | None,
) -> Iterator[View]:
    times: deque[float] = deque(maxlen=LATELY + 1)
    with ExitStack() as stack:
        stack.enter_context(closing(stream))  # type: ignore[type-var]
        recorder = None if record is None else Recorder(Path(record))
        filmed = written = None
        if film is not None:
            filmed = stack.enter_context(closing(Film(Path(film), follower.models)))
        if bag is not None:
            written = stack.enter_context(closing(DetectionBag(Path(bag), follower.models)))
        for number, shot in enumerate(stream):
            seen = tuple(follower(shot.rgb, shot.camera))
            times.append(time.monotonic())
            taken = times[-1] - times[0]
            rate = (len(times) - 1) / taken if taken > 0 else 0.0
            view = View(number, shot, seen, rate, follower.models)
            if recorder is not None:
                recorder.add(shot)
            if filmed is not None:
                filmed.add(shot, seen, view.rate)
            if written is not None:
                written.add(seen, shot.time_ns, shot.frame_id)
            yield view
            if images is not None and number + 1 >= images:
                break
        if recorder is not None and recorder.left_out and listener is not None:
            text = f"{recorder.left_out} images of another camera are not in {recorder.folder}"
            listener(Note("warning", text))


def _row(seen: Seen, turn: list[float] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "object": seen.name,
        "object_id": seen.object_id,
        "instance": seen.instance,
        "state": seen.state.value,
        "confidence": round(seen.confidence, 4),
        "detected": seen.detected,
    }
    if seen.R is not None and seen.t is not None and seen.box is not None:
        row |= {
            "R_m2c": seen.R.tolist(), "t_m2c": seen.t.tolist(),
            "quaternion_wxyz": turn, "box": seen.box.round(2).tolist(),
        }  # fmt: skip
    return row
