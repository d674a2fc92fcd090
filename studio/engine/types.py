"""What travels between the helper process and the window: plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from self6d.scene import ObjectModel

# what "Open sample" makes: enough to see a network adapt, and there within seconds
SAMPLE_FRAMES, SAMPLE_EVAL = 48, 16  # and half as many again of other arrangements


@dataclass(frozen=True, eq=False)
class PoseData:
    """A pose of an object in the camera frame.

    Attributes:
        R: (3, 3) float64. t: (3,) float64, metres. Model to camera.
        object_id: BOP object number.
        score: confidence in [0, 1]; 1 for poses set by hand or known to be true.
    """

    object_id: int
    R: np.ndarray
    t: np.ndarray
    score: float = 1.0

    def to_dict(self) -> dict:
        return {
            "object_id": self.object_id, "R_m2c": np.asarray(self.R).tolist(),
            "t_m2c": np.asarray(self.t).tolist(), "score": self.score,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, row: dict) -> PoseData:
        return cls(
            int(row["object_id"]),
            np.array(row["R_m2c"], dtype=float).reshape(3, 3),
            np.array(row["t_m2c"], dtype=float).reshape(3),
            float(row.get("score", 1.0)),
        )


@dataclass(frozen=True, eq=False)
class TrackRow:
    """One object in one frame of a track; see `self6d.datasets.pose_track`.

    Attributes:
        index: of the frame in the open recording.
        state: "tracked", "weak", "lost" or "found again". pose: None where it is lost.
    """

    index: int
    object_id: int
    instance: int
    state: str
    confidence: float
    pose: PoseData | None


@dataclass(frozen=True, eq=False)
class TrackData:
    """What a run of `track` found, and the poses it started from."""

    rows: tuple[TrackRow, ...]
    starts: tuple[TrackRow, ...]


@dataclass(frozen=True, eq=False)
class Landed:
    """An object put on a pixel.

    Attributes:
        depth_m: what the sensor measured there; None: nothing.
        distance_m: depth of the object's middle now.
    """

    pose: PoseData
    depth_m: float | None
    distance_m: float


@dataclass(frozen=True, eq=False)
class JudgedPose:
    """A network's pose on a frame and how it agrees with it; see `self6d.refinement.agreement`."""

    pose: PoseData
    mask_iou: float
    depth_inliers: float
    depth_gap_m: float
    trust: float


@dataclass(frozen=True, eq=False)
class JudgedFrame:
    """What a network finds in a frame.

    Attributes:
        right: labelled poses that it finds, ADD(-S) below a tenth of the diameter.
        labelled: labelled poses of its objects there are; 0 without labels.
    """

    index: int
    poses: tuple[JudgedPose, ...]
    right: int = 0
    labelled: int = 0

    @property
    def trust(self) -> float:
        """Sum over the poses: one that is not found adds nothing."""
        return sum(p.trust for p in self.poses)


@dataclass(frozen=True)
class ModelFiles:
    """CAD files and folders as requests name them, with the unit they are read in."""

    paths: tuple[str, ...]
    unit: str = "auto"


@dataclass(frozen=True)
class DiskChange:
    """What has become of an open recording on disk.

    Attributes:
        what: "gone", "unreadable", "more" or "fewer" frames, images "replaced" by others of their
            name; "" where it is as it was.
        text: the same for people.
    """

    what: str = ""
    text: str = ""


@dataclass(frozen=True)
class BagTopics:
    """What may be read of a bag: topics, likeliest first, and what is read as things stand."""

    path: str
    colours: tuple[str, ...]
    depths: tuple[str, ...]
    infos: tuple[str, ...]
    colour: str = ""
    depth: str = ""
    info: str = ""


@dataclass(frozen=True, eq=False)
class ModelCard:
    """A CAD model as the window shows it. Lengths in metres.

    Attributes:
        unit: the unit its file was read in.
        guessed_unit: the same; None where it was named or stated.
    """

    object_id: int
    name: str
    source: str
    diameter: float
    extents: np.ndarray
    vertex_count: int
    face_count: int
    symmetric: bool
    has_color: bool
    unit: str = "mm"
    guessed_unit: str | None = None

    @classmethod
    def of(cls, model: ObjectModel) -> ModelCard:
        return cls(
            object_id=model.object_id,
            name=model.name,
            source=str(model.source or ""),
            diameter=float(model.diameter),
            extents=model.extents,
            vertex_count=len(model.vertices),
            face_count=len(model.faces),
            symmetric=model.symmetric,
            has_color=model.has_color,
            unit=model.unit,
            guessed_unit=model.guessed_unit,
        )


@dataclass(frozen=True)
class RecordingInfo:
    """A recording as the window lists it.

    Attributes:
        keys: (scene, image) number of every frame.
        reason: why it was read as `kind`.
        splits: frame indices of each named split.
        models: folder of CAD models that came with it.
        has_depth, has_truth: of some of the frames. size: of the first; size is (height, width).
        topics: of a bag, what is read.
        folders: that hold its images, or the bag.
    """

    root: str
    kind: str
    keys: tuple[tuple[int, int], ...]
    reason: str = ""
    splits: dict[str, tuple[int, ...]] = field(default_factory=dict)
    models: str | None = None
    has_depth: bool = True
    has_truth: bool = False
    size: tuple[int, int] = (0, 0)
    topics: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def index_of(self, key: tuple[int, int] | None) -> int | None:
        """The frame of a (scene, image) number; None where the recording has none such."""
        return self.keys.index(key) if key in self.keys else None

    def image_of(self, index: int) -> str:
        """What the recording calls a frame, beside the number that the window counts by."""
        scenes = {scene for scene, _ in self.keys}
        scene, image = self.keys[index]
        return f"image {image} of scene {scene}" if len(scenes) > 1 else f"image {image}"


@dataclass(frozen=True, eq=False)
class FrameData:
    """One frame, decoded.

    Attributes:
        rgb: (H, W, 3) uint8. depth_m: (H, W) float32, metres, 0 unknown; or None.
        K: (3, 3), pixels, pixel centres at integer + 0.5.
        truth: labelled poses; shown, never used in training.
    """

    index: int
    name: str
    rgb: np.ndarray
    depth_m: np.ndarray | None
    K: np.ndarray
    truth: tuple[PoseData, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, eq=False)
class RenderData:
    """Models drawn at their poses over the whole image, nearest in front.

    Attributes:
        poses: what was drawn.
        rgb: (H, W, 3) uint8, black where uncovered. depth_m: (H, W) float32, 0 where uncovered.
        owner: (H, W) int16, index into `poses` of what is seen, -1 where uncovered.
        outlines: for each pose, closed polygons (N, 2) of its silhouette, image coordinates.
    """

    poses: tuple[PoseData, ...]
    rgb: np.ndarray
    depth_m: np.ndarray
    owner: np.ndarray
    outlines: tuple[tuple[np.ndarray, ...], ...]

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return self.owner >= 0


@dataclass(frozen=True, eq=False)
class ColoursTaken:
    """CAD models with a recording's colours.

    Attributes:
        folder: of the new models. lines: what was seen and what filled in, one an object.
        picture: (h, w, 3) uint8, a row an object: two sides before, the same two after.
    """

    folder: str
    lines: tuple[str, ...]
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class CloudData:
    """Point sets of a frame and a pose, metres, camera frame.

    Attributes:
        sensor: (N, 3) float32 points the sensor saw near the object; sensor_rgb (N, 3) uint8.
        model: (M, 3) float32 points of the whole model at the pose; distance: (M,) float32 m to the
            nearest sensor point.
        surface: (S, 3) float32 points of the rendered visible surface; surface_distance (S,).
        chamfer_mm: mean two-way distance between sensor points inside the mask and the surface.
    """

    sensor: np.ndarray
    sensor_rgb: np.ndarray
    model: np.ndarray
    distance: np.ndarray
    surface: np.ndarray
    surface_distance: np.ndarray
    chamfer_mm: float | None


@dataclass(frozen=True, eq=False)
class TermPull:
    """One term at a pose.

    Attributes:
        value: the term, unweighted. weight: its weight in the total.
        rotation: (3,) weighted descent per radian, camera axes.
        translation: (3,) weighted descent per object diameter, camera axes.
        share: (h, w) float32, each pixel's share of the pull, of the region's size.
    """

    value: float
    weight: float
    rotation: np.ndarray
    translation: np.ndarray
    share: np.ndarray


@dataclass(frozen=True, eq=False)
class Xray:
    """All terms at a pose.

    Attributes:
        box: (4,) x0 y0 x1 y1, pixels of the image, of the region examined.
        centre: (3,) metres, camera frame, the point the pulls act on. diameter: metres.
        mask: (h, w) float32, the mask the sensor's side was cut with.
        remark: which term is left out since its features are not installed; mostly empty.
    """

    terms: dict[str, TermPull]
    box: np.ndarray
    centre: np.ndarray
    diameter: float
    mask: np.ndarray
    remark: str = ""


@dataclass(frozen=True)
class FormField:
    """One line of a settings form; `self6d.config.FieldInfo` with the type as a word."""

    key: str
    kind: str
    optional: bool
    value: Any
    doc: str
    minimum: float | None
    maximum: float | None
    choices: tuple
