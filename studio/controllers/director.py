"""Keeps all views on the selected frame, object and pose; the helper process does the work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal

from studio.engine import Engine, Failure
from studio.engine.types import CloudData, FrameData, PoseData, RenderData
from studio.model.project import Project

CACHE_BYTES = 512 << 20
CLOUD_DELAY_MS = 120
THUMBNAILS_AT_ONCE = 3


class FrameCache:
    """Decoded frames, least recently used first out, bounded by their size."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._frames: OrderedDict[tuple[str, int], FrameData] = OrderedDict()
        self._bytes = 0

    def get(self, path: str, index: int) -> FrameData | None:
        frame = self._frames.get((path, index))
        if frame is not None:
            self._frames.move_to_end((path, index))
        return frame

    def put(self, path: str, frame: FrameData) -> None:
        old = self._frames.pop((path, frame.index), None)
        self._bytes += _size(frame) - (_size(old) if old else 0)
        self._frames[path, frame.index] = frame
        while self._bytes > self._limit and len(self._frames) > 1:
            _, gone = self._frames.popitem(last=False)
            self._bytes -= _size(gone)

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0


def _size(frame: FrameData) -> int:
    return frame.rgb.nbytes + (frame.depth_m.nbytes if frame.depth_m is not None else 0)


class Director(QObject):
    """Turns changes of the project into frames, renderings and clouds.

    Signals carry the index of the frame they belong to; the views get only what is still wanted.
    """

    frameReady = Signal(object)
    renderingReady = Signal(str, object)
    cloudReady = Signal(object)
    thumbnailReady = Signal(int, object)
    failed = Signal(object)

    def __init__(self, project: Project, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.project, self.engine = project, engine
        self.cache = FrameCache()
        self.frame: FrameData | None = None
        self.cloud_wanted = True
        self.cloud_told = ""  # whose pose the newest cloud shows
        self._truth_wanted = False
        self.poses_before: Callable[[int], list[PoseData]] = lambda index: []
        self._cloud_timer = QTimer(self, singleShot=True, interval=CLOUD_DELAY_MS)
        self._cloud_timer.timeout.connect(self._ask_cloud)
        project.recordingChanged.connect(self._on_recording)
        project.frameChanged.connect(self._on_frame)
        project.modelsChanged.connect(self._on_models)
        project.objectChanged.connect(lambda _: self._cloud_timer.start())
        project.posesChanged.connect(self._on_poses)
        project.optionsChanged.connect(self._on_models)

    def ask_thumbnails(self, indices: list[int]) -> None:
        """A few at a time, so that a frame that is wanted now need not wait for them."""
        path = self._path()
        if path is None or not indices:
            return
        now, later = indices[:THUMBNAILS_AT_ONCE], indices[THUMBNAILS_AT_ONCE:]

        def arrived(got: tuple) -> None:
            if path == self._path():
                self.thumbnailReady.emit(*got)

        def more(_: object) -> None:
            if path == self._path():
                self.ask_thumbnails(later)

        self.engine.request("thumbnails", path, now, 96, partial=arrived, done=more,
                            failed=lambda failure: None)  # fmt: skip

    def _path(self) -> str | None:
        return self.project.recording.root if self.project.recording else None

    def _on_recording(self) -> None:
        self.cache.clear()
        self.frame = None
        if self.project.recording is None:
            self.frameReady.emit(None)
            self.cloudReady.emit(None)

    def _on_frame(self, index: int) -> None:
        path = self._path()
        if path is None:
            return
        frame = self.cache.get(path, index)
        if frame is not None:
            self._show(frame)
            return
        self.engine.request(
            "frame", path, index, key="frame",
            done=lambda frame: self._on_decoded(path, frame), failed=self.failed.emit,
        )  # fmt: skip

    def _on_decoded(self, path: str, frame: FrameData) -> None:
        if path != self._path():
            return
        self.cache.put(path, frame)
        if frame.index == self.project.frame_index:
            self._show(frame)

    def _show(self, frame: FrameData) -> None:
        self.frame = frame
        self.frameReady.emit(frame)
        self._render("predicted", self.project.frame_poses())
        self._render("start", self.poses_before(frame.index))
        self._render("truth", list(frame.truth))
        self._cloud_timer.start()

    def _on_models(self) -> None:
        if self.frame is not None:
            self._show(self.frame)

    def _on_poses(self, index: int) -> None:
        if self.frame is not None and index == self.frame.index:
            self._render("predicted", self.project.frame_poses())
            self._cloud_timer.start()

    def _render(self, name: str, poses: list[PoseData]) -> None:
        frame, project = self.frame, self.project
        if frame is None or not project.model_paths or not poses:
            self.renderingReady.emit(name, None)
            return

        def arrived(rendering: RenderData) -> None:
            if self.frame is frame:
                self.renderingReady.emit(name, rendering)

        self.engine.request(
            "render", project.model_files, poses, frame.K, frame.size,
            key=f"render {name}", done=arrived, failed=self._on_failure,
        )  # fmt: skip

    def refresh_before(self) -> None:
        """Draw the poses before adaptation again: they came, or went."""
        if self.frame is not None:
            self._render("start", self.poses_before(self.frame.index))

    def refresh_cloud(self) -> None:
        """Ask for the cloud again: the view is shown."""
        self._cloud_timer.start()

    def want_truth(self, wanted: bool) -> None:
        """Whether the truth may be shown at all."""
        self._truth_wanted = wanted
        self.refresh_cloud()

    def _cloud_pose(self) -> tuple[PoseData | None, str]:
        """What the 3D view puts against the sensor, and where that comes from.

        The truth stands in where the selected object has no pose, but only while it is asked for.
        """
        project, pose = self.project, self.project.pose()
        if pose is not None:
            return pose, project.told_by(project.frame_index, pose.object_id)
        if self._truth_wanted and self.frame is not None:
            for truth in self.frame.truth:
                if truth.object_id == project.object_id:
                    return truth, "the truth, for comparison only"
        return None, "no pose yet: the sensor alone"

    def _ask_cloud(self) -> None:
        path, frame = self._path(), self.frame
        if path is None or frame is None or not self.cloud_wanted:
            return
        if frame.depth_m is None:
            self.cloudReady.emit(None)
            return

        (pose, told), names = self._cloud_pose(), self.project.model_files

        def arrived(cloud: CloudData) -> None:
            if self.frame is frame:
                self.cloud_told = f"frame {frame.index + 1}, {told}"
                self.cloudReady.emit(cloud)

        if pose is None or self.project.model(pose.object_id) is None:
            self.engine.request("sensor_cloud", path, frame.index, key="cloud", done=arrived,
                                failed=self._on_failure)  # fmt: skip
        else:
            self.engine.request("cloud", path, frame.index, names, pose,
                                key="cloud", done=arrived, failed=self._on_failure)  # fmt: skip

    def _on_failure(self, failure: Failure) -> None:
        self.failed.emit(failure)
