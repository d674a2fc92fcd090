"""Keeps all views on the selected frame, object and pose; the helper process does the work."""

from __future__ import annotations

from collections import OrderedDict

from PySide6.QtCore import QObject, QTimer, Signal

from studio.controllers.predictions import Predictions
from studio.engine import Engine, Failure
from studio.engine.types import CloudData, FrameData, PoseData, RenderData
from studio.model.layers import POSES, TRUTH, Layer, Network
from studio.model.project import Project

CACHE_BYTES = 512 << 20
CLOUD_DELAY_MS = 120
THUMBNAILS_AT_ONCE = 3
TRUTH_TOLD = "the truth, for comparison only"


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

    The views get only what is still wanted.

    Signals:
        renderingReady: key of a layer, its RenderData or None.
        cloudReady: CloudData by layer, the sensor alone as ""; None without depth.
    """

    frameReady = Signal(object)
    renderingReady = Signal(str, object)
    cloudReady = Signal(object)
    thumbnailReady = Signal(int, object)
    failed = Signal(object)

    def __init__(
        self,
        project: Project,
        engine: Engine,
        predictions: Predictions,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.project, self.engine = project, engine
        self.predictions, self.layers = predictions, predictions.layers
        self.cache = FrameCache()
        self.frame: FrameData | None = None
        self._shown_of: str | None = None  # root of the recording in view
        self.unreadable = ""  # why there is none where one is selected
        self.cloud_wanted = True
        self.cloud_told: dict[str, str] = {}  # by layer, whose pose the newest cloud shows
        self._drawn: set[str] = set()  # layers that were asked for
        self._cloud_timer = QTimer(self, singleShot=True, interval=CLOUD_DELAY_MS)
        self._cloud_timer.timeout.connect(self._ask_cloud)
        project.recordingChanged.connect(self._on_recording)
        project.frameChanged.connect(self._on_frame)
        project.modelsChanged.connect(self._on_models)
        project.objectChanged.connect(lambda _: self._cloud_timer.start())
        project.posesChanged.connect(self._on_poses)
        project.optionsChanged.connect(self._on_models)
        self.layers.changed.connect(self._on_layers)
        predictions.arrived.connect(self._on_prediction)

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
        before, self._shown_of = self._shown_of, self._path()
        self.frame, self.unreadable = None, ""
        if before != self._shown_of:  # the picture would be taken for one of this recording
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
            done=lambda frame: self._on_decoded(path, frame),
            failed=lambda failure: self._on_unreadable(path, index, failure),
        )  # fmt: skip

    def _on_unreadable(self, path: str, index: int, failure: Failure) -> None:
        """The frame before leaves the views: it would be taken for this one."""
        if path == self._path() and index == self.project.frame_index:
            self.frame, self.unreadable = None, f"Frame {index + 1}: {failure.one_line()}"
            self.frameReady.emit(None)
            self._on_layers()
            self.cloudReady.emit(None)
        self.failed.emit(failure)

    def _on_decoded(self, path: str, frame: FrameData) -> None:
        if path != self._path():
            return
        self.cache.put(path, frame)
        if frame.index == self.project.frame_index:
            self._show(frame)

    def _show(self, frame: FrameData) -> None:
        self.frame, self.unreadable = frame, ""
        self.frameReady.emit(frame)
        self._drawn = set()
        self._on_layers()
        self._cloud_timer.start()

    def poses_of(self, layer: Layer) -> list[PoseData] | None:
        """A layer's poses on the frame in view; None while its network has not looked at it."""
        if self.frame is None:
            return None
        if layer.network is not None:
            return self.predictions.poses(layer.network, self.frame.index)
        return self.project.frame_poses() if layer.key == POSES else list(self.frame.truth)

    def told_by(self, layer: Layer, object_id: int | None = None) -> str:
        """Where a layer's poses (of one object) on the frame in view come from, in words."""
        if layer.network is not None:
            name, poses = self.predictions.told(layer.network), self.poses_of(layer)
            if poses is None:
                return f"{name} is looking at this frame…"
            return name if poses else f"{name} finds nothing here"
        if layer.key == TRUTH:
            return TRUTH_TOLD
        return self.project.told_by(self.project.frame_index, object_id)

    def _on_layers(self) -> None:
        """Draw what is newly shown; the truth and the poses at work are always at hand."""
        wanted = {la.key: la for la in self.layers if la.shown or la.network is None}
        for key in self._drawn - set(wanted):
            self.renderingReady.emit(key, None)
        for key, layer in wanted.items():
            if key not in self._drawn:
                self._render(key, self.poses_of(layer) or [])
        self._drawn = set(wanted) if self.frame is not None else set()
        self._cloud_timer.start()

    def _on_prediction(self, network: Network, index: int) -> None:
        for layer in self.layers.shown():
            if layer.network == network and self.frame is not None and index == self.frame.index:
                self._render(layer.key, self.poses_of(layer) or [])
                self._cloud_timer.start()

    def _on_models(self) -> None:
        if self.frame is not None:
            self._show(self.frame)

    def _on_poses(self, index: int) -> None:
        if self.frame is not None and index == self.frame.index:
            self._render(POSES, self.project.frame_poses())
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

    def refresh_cloud(self) -> None:
        """Ask for the cloud again: the view is shown."""
        self._cloud_timer.start()

    def _cloud_poses(self) -> dict[str, PoseData]:
        """What the 3D view puts against the sensor: the selected object in each layer shown."""
        number, found = self.project.object_id, {}
        if self.project.model(number) is not None:
            for layer in self.layers.shown():
                mine = [p for p in self.poses_of(layer) or [] if p.object_id == number]
                if mine:
                    found[layer.key] = mine[0]
        return found

    def _ask_cloud(self) -> None:
        path, frame = self._path(), self.frame
        if path is None or frame is None or not self.cloud_wanted:
            return
        if frame.depth_m is None:
            self.cloudReady.emit(None)
            return
        poses = self._cloud_poses()
        told = {key: self.told_by(self.layers[key], self.project.object_id) for key in poses}
        here = f"frame {frame.index + 1}, "
        said = {key: here + text for key, text in told.items()} if len(told) == 1 else told

        def arrived(clouds: list[CloudData]) -> None:
            if self.frame is frame:
                self.cloud_told = said or {"": f"{here}no pose yet: the sensor alone"}
                self.cloudReady.emit(dict(zip(self.cloud_told, clouds, strict=True)))

        self.engine.request(
            "clouds", path, frame.index, self.project.model_files, list(poses.values()),
            key="cloud", done=arrived, failed=self._on_failure,
        )  # fmt: skip

    def _on_failure(self, failure: Failure) -> None:
        self.failed.emit(failure)
