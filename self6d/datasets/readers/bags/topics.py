"""Which topics of a bag hold colour, its depth and their cameras, and how the two cameras stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets.distortion import STRAIGHT, Distortion, distortion
from self6d.datasets.images import same_view
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.readers.bags import images as bag_images
from self6d.datasets.readers.bags.file import BagFile
from self6d.datasets.registration import DepthCamera
from self6d.errors import InputError
from self6d.files import note, read_json, write_file

_IMAGES = ("sensor_msgs/Image", "sensor_msgs/CompressedImage")
_NO_COLOUR = re.compile(r"depth|disparity|mask|label|confidence|heatmap|debug", re.IGNORECASE)
_INFRARED = re.compile(r"infra|(?:^|[/_])ir(?:[/_\d]|$)|thermal", re.IGNORECASE)
_SAYS_COLOUR = re.compile(r"colou?r|rgb", re.IGNORECASE)
_ALIGNED = re.compile(r"aligned|registered|depth_(?:to|2)_(?:colou?r|rgb)", re.IGNORECASE)
_REALSENSE = re.compile(r"(/device_\d+/sensor_\d+)(/[A-Za-z]+_\d+)/image/data")


@dataclass(frozen=True)
class Choice:
    """Topics of one camera, by name; "" where there is none.

    Attributes:
        others: further colour topics of the bag.
        unused: further depth topics.
    """

    colour: str
    depth: str
    info: str
    depth_info: str
    others: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def choice_file(bag: Path) -> Path:
    """Where a user may name topics: beside the bag."""
    return bag.with_name(bag.name + ".topics.json")


def choose(bag: BagFile, colour: str = "") -> Choice:
    """The topics to read: as the user's file beside the bag says, else by encoding and name.

    Args:
        colour: topic to take colour from; its depth is then looked for anew.

    Raises:
        InputError: no colour images, or a topic that is not there.
    """
    named = {} if colour else _named(bag)
    first = {t.name: bag.message(t.name, 0) for t in bag.of_kind(*_IMAGES)}
    colours = sorted(
        (n for n, m in first.items() if bag_images.is_colour(m) and not _NO_COLOUR.search(n)),
        key=lambda n: _colour_rank(bag, n, first[n]),
    )
    depths = [n for n, m in first.items() if bag_images.is_depth(m) and not _INFRARED.search(n)]
    if any(not _INFRARED.search(n) for n in colours):
        colours = [n for n in colours if not _INFRARED.search(n)]
    chosen = colour or named.get("colour") or next(iter(colours), "")
    if not chosen:
        raise InputError(
            "holds no colour images", path=bag.path, remedy=_listing(bag, "Record a colour topic.")
        )
    ranked = sorted(depths, key=lambda n: _depth_rank(chosen, n))
    depth = named["depth"] or "" if "depth" in named else next(iter(ranked), "")
    info = named.get("camera_info") or _info_of(bag, chosen, first[chosen])
    if not info and depth and _ALIGNED.search(depth):
        info = _info_of(bag, depth, first[depth])  # that of the image it was aligned to
    depth_info = named.get("depth_camera_info") or ""
    if depth and not depth_info:
        depth_info = _info_of(bag, depth, first[depth])
    others = tuple(n for n in colours if n != chosen)
    unused = tuple(n for n in ranked if n != depth)
    return Choice(chosen, depth, info, depth_info, others, unused)


@dataclass(frozen=True)
class Offer:
    """What a bag holds of cameras, by topic, likeliest first.

    Attributes:
        colours, depths, infos: topics that may be chosen.
        chosen: what is read as things stand; None where nothing can be.
    """

    colours: tuple[str, ...]
    depths: tuple[str, ...]
    infos: tuple[str, ...]
    chosen: Choice | None


def offered(path: Path) -> Offer:
    """The topics of a bag among which a user may choose.

    Raises:
        InputError: rosbags is missing, or the bag is damaged.
    """
    bag = BagFile(path)
    first = {t.name: bag.message(t.name, 0) for t in bag.of_kind(*_IMAGES)}
    try:
        chosen = choose(bag)
    except InputError:
        chosen = None
    colours = [n for n, m in first.items() if bag_images.is_colour(m)]
    depths = [n for n, m in first.items() if bag_images.is_depth(m)]
    at = "" if chosen is None else chosen.colour
    infos = sorted(t.name for t in bag.of_kind("sensor_msgs/CameraInfo"))
    return Offer(
        tuple(sorted(colours, key=lambda n: (n != at, *_colour_rank(bag, n, first[n])))),
        tuple(sorted(depths, key=lambda n: _depth_rank(at, n))),
        tuple(infos),
        chosen,
    )


def keep_choice(path: Path, colour: str, depth: str, info: str) -> Path:
    """Write a user's choice of topics beside the bag, where every command finds it.

    Args:
        depth: "" for none. info: "" for the one that belongs to colour.

    Raises:
        StorageError: it cannot be written there.
    """
    table = {"colour": colour, "depth": depth or None, **({"camera_info": info} if info else {})}
    file = choice_file(path)
    write_file(file, json.dumps(table, indent=1))
    return file


def _named(bag: BagFile) -> dict[str, str | None]:
    path = choice_file(bag.path)
    if not path.is_file():
        return {}
    table = {("colour" if k == "color" else k): v for k, v in read_json(path, "topics").items()}
    for name, value in table.items():
        if name not in ("colour", "depth", "camera_info", "depth_camera_info"):
            remedy = "Use colour, depth, camera_info, depth_camera_info."
            raise InputError(f"'{name}' is no choice of topics", path=path, remedy=remedy)
        if value is not None and value not in bag.topics:
            raise InputError(f"the bag has no topic '{value}'", path=path, remedy=_listing(bag, ""))
    return table


def _listing(bag: BagFile, what: str) -> str:
    topics = [f"{t.name} ({t.kind.rpartition('/')[2]})" for _, t in sorted(bag.topics.items())]
    more = f" and {len(topics) - 12} more" if len(topics) > 12 else ""
    return f"{what} Topics: {', '.join(topics[:12])}{more}.".strip()


def _colour_rank(bag: BagFile, name: str, message: Any) -> tuple:
    return (
        bag_images.is_grey(message),
        bool(_INFRARED.search(name)),
        not _SAYS_COLOUR.search(name),
        not hasattr(message, "encoding"),
        -bag.topics[name].count,
        name,
    )


def _depth_rank(colour: str, name: str) -> tuple:
    a, b = colour.split("/"), name.split("/")
    shared = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return (-shared, not _ALIGNED.search(name), "ompressed" in name, name)


def _info_of(bag: BagFile, topic: str, message: Any) -> str:
    """The camera_info topic of an image topic, or ""."""
    infos = {t.name for t in bag.of_kind("sensor_msgs/CameraInfo")}
    folder = topic.rpartition("/")[0]
    for place in (f"{folder}/camera_info", f"{folder.rpartition('/')[0]}/camera_info"):
        if place in infos and ("ompressed" in topic or place.startswith(f"{folder}/")):
            return place
    found = _REALSENSE.fullmatch(topic)
    if found and f"{found.group(1)}{found.group(2)}/info/camera_info" in infos:
        return f"{found.group(1)}{found.group(2)}/info/camera_info"
    frame = message.header.frame_id
    same = [n for n in sorted(infos) if frame and bag.message(n, 0).header.frame_id == frame]
    return same[0] if same else ""


def intrinsics_of_info(message: Any, topic: str, image_topic: str, path: Path) -> Intrinsics:
    """What a camera_info message states for the images of a topic.

    Rectified images (image_rect) have the K of its projection matrix and no distortion. A region of
    interest moves the principal point; binned images are rescaled by their size.
    """
    values = {name: getattr(message, name, None) for name in ("K", "k", "D", "d", "P", "p")}
    K = np.array(_first(values["K"], values["k"]), np.float64).reshape(3, 3)
    bend: Distortion | None = STRAIGHT
    if "rect" in image_topic.rpartition("/")[2] or "/image_rect" in image_topic:
        P = np.array(_first(values["P"], values["p"]), np.float64).reshape(3, 4)
        K = P[:, :3].copy() if P[0, 0] > 0 else K
    else:
        coefficients = _first(values["D"], values["d"])
        model = str(message.distortion_model)
        if model.lower() in ("", "none") or not len(coefficients):
            model = ""
        bend = distortion(coefficients, model, path) if len(coefficients) else None
    width, height = int(message.width), int(message.height)
    roi = message.roi
    if roi.width and roi.height and (roi.width, roi.height) != (width, height):
        K = K.copy()
        K[0, 2] -= roi.x_offset
        K[1, 2] -= roi.y_offset
        width, height = int(roi.width), int(roi.height)
        note(path, f"camera_info {topic} states a region of the image, to which K was moved")
    return Intrinsics(K, width or None, height or None, None, path, bend)


def _first(a: Any, b: Any) -> Any:
    return b if a is None else a


def depth_camera(
    bag: BagFile, choice: Choice, colour: Intrinsics, sizes: tuple[tuple[int, int], ...]
) -> DepthCamera | None:
    """Depth's own camera, where depth is not registered to colour but the bag says how they stand.

    Args:
        sizes: (height, width) of colour and of depth images.

    Raises:
        InputError: depth of another view, and no extrinsics.
    """
    if _ALIGNED.search(choice.depth):
        return None
    own = None
    if choice.depth_info:
        info = bag.message(choice.depth_info, 0)
        own = intrinsics_of_info(info, choice.depth_info, choice.depth, bag.path)
    a, b = (size[::-1] for size in sizes)
    if own is not None and choice.depth_info != choice.info:
        pose = _realsense_pose(bag, choice)
        pose = _tf_pose(bag, choice) if pose is None else pose
        if pose is not None:
            return DepthCamera(own, pose[:3, :3], pose[:3, 3])
    scale = a[0] / b[0]
    alike = own is None or np.allclose(
        (own.K * [[scale], [scale], [1]])[:2], colour.K[:2], rtol=0.02, atol=2.0
    )
    if not alike or not same_view(a, b):
        raise InputError(
            f"depth of {choice.depth} has a camera of its own, and the bag does not say how it "
            "stands to colour's",
            path=bag.path,
            remedy="Record depth aligned to colour (aligned_depth_to_color) or /tf_static too, or "
            f'adapt without depth: {{"depth": null}} in {choice_file(bag.path).name}.',
        )
    note(bag.path, f"depth of {choice.depth} is taken as registered to colour")
    return None


def _realsense_pose(bag: BagFile, choice: Choice) -> np.ndarray | None:
    """From depth's axes to colour's: a RealSense bag has each stream's place in a common one."""
    found = [_REALSENSE.fullmatch(name) for name in (choice.colour, choice.depth)]
    poses: list[dict[str, np.ndarray]] = []
    for match in found:
        if match is None:
            return None
        prefix = f"{match.group(1)}{match.group(2)}/tf/"
        names = [n for n in bag.topics if n.startswith(prefix)]
        poses.append({n[len(prefix) :]: _matrix(bag.message(n, 0)) for n in names})
    common = sorted(poses[0].keys() & poses[1].keys())
    if not common:
        return None
    colour, depth = (p[common[0]] for p in poses)
    return colour @ np.linalg.inv(depth)


def _tf_pose(bag: BagFile, choice: Choice) -> np.ndarray | None:
    """The same from /tf_static, between the frames that the images' headers name."""
    frames = [bag.message(n, 0).header.frame_id.lstrip("/") for n in (choice.colour, choice.depth)]
    if frames[0] == frames[1]:
        return None
    parents: dict[str, tuple[str, np.ndarray]] = {}
    for topic in bag.of_kind("tf2_msgs/TFMessage", "tf/tfMessage"):
        if topic.name.rpartition("/")[2] != "tf_static":
            continue
        for number in range(min(topic.count, 200)):
            for step in bag.message(topic.name, number).transforms:
                child = step.child_frame_id.lstrip("/")
                parents[child] = step.header.frame_id.lstrip("/"), _matrix(step.transform)
    ways = [dict(_upward(frame, parents)) for frame in frames]
    meeting = next((frame for frame in ways[1] if frame in ways[0]), None)
    return None if meeting is None else np.linalg.inv(ways[0][meeting]) @ ways[1][meeting]


def _upward(
    frame: str, parents: dict[str, tuple[str, np.ndarray]]
) -> Iterator[tuple[str, np.ndarray]]:
    """A frame and those above it, with the transform from the frame into each."""
    pose = np.eye(4)
    for _ in range(len(parents) + 1):
        yield frame, pose
        if frame not in parents:
            return
        frame, step = parents[frame]
        pose = step @ pose


def _matrix(transform: Any) -> np.ndarray:
    q, t = transform.rotation, transform.translation
    wxyz = np.array([q.w, q.x, q.y, q.z], np.float64)
    length = float(np.linalg.norm(wxyz))
    wxyz = wxyz / length if length > 0 else np.array([1.0, 0, 0, 0])
    w, v = float(wxyz[0]), wxyz[1:]
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    pose = np.eye(4)
    pose[:3, :3] = np.eye(3) + 2 * w * k + 2 * k @ k
    pose[:3, 3] = t.x, t.y, t.z
    return pose


def realsense_unit(bag: BagFile, depth: str) -> float | None:
    """Metres per unit of a RealSense bag's depth; None where another program wrote the bag."""
    found = _REALSENSE.fullmatch(depth)
    if found is None:
        return None
    wanted = re.compile(re.escape(found.group(1)) + r"/option/depth[ _]units/value", re.IGNORECASE)
    for name in bag.topics:
        if wanted.fullmatch(name):
            return float(bag.message(name, 0).data)
    note(bag.path, "states no depth units; depth is read as millimetres")
    return None
