"""The middle of the window: frames, probes or synthetic images, the 3D view, the timeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from self6d.events import Preview
from studio.controllers.director import Director
from studio.engine.types import CloudData, FrameData, RenderData
from studio.model.layers import Network
from studio.model.project import Project
from studio.toolkit.focus import land, usable
from studio.toolkit.widgets import Panel, Segments, button, label, row
from studio.views.canvas import ImageCanvas, to_image
from studio.views.cloud import CloudView
from studio.views.frame import NO_FRAME, READING, FrameView
from studio.views.probes import ProbesView
from studio.views.scrubber import Scrubber

PAGES = (
    ("frames", "Frames", "The recording's frames with the poses known on them"),
    ("probes", "Live probes", "Frames the running job reports on, at its start and now"),
    ("synthetic", "Synthetic", "Images that stage 1 trains on"),
)
LOW = 340  # pixels; below, the picture needs the room of large thumbnails


class Stage(QWidget):
    """Holds the views and hands them what the director brings."""

    previewWanted = Signal()
    pageChanged = Signal(str)
    largeChanged = Signal(bool)

    def __init__(self, project: Project, director: Director) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.project, self.director = project, director
        self.frame_view = FrameView(director.layers)
        self.cloud_view = CloudView(director.layers)
        self.probes = ProbesView(self._frame_of)
        self.scrubber = Scrubber()
        self.gallery = ImageCanvas("Synthetic images")
        self.gallery.message = "See what stage 1 would train on before you train it."
        self.preview_button = button("Preview synthetic images", self.previewWanted.emit)
        self.gallery_note = label("", "small")
        gallery_page = QWidget()
        gallery_layout = QVBoxLayout(gallery_page)
        gallery_layout.setContentsMargins(0, 0, 0, 0)
        gallery_layout.setSpacing(8)
        gallery_layout.addWidget(self.gallery, 1)
        gallery_layout.addLayout(row(self.preview_button, self.gallery_note, 1))

        self.stack = QStackedWidget()
        self.pages: dict[str, QWidget] = {}
        for (key, _, _), page in zip(PAGES, (self.frame_view, self.probes, gallery_page)):
            self.pages[key] = page
            self.stack.addWidget(page)
        self.tabs = Segments(PAGES, self._on_page)
        self.left = left = Panel(margin=8)
        left.body.addWidget(self.tabs)
        left.body.addWidget(self.stack, 1)
        self.cloud_panel = Panel(margin=8)
        self.cloud_panel.body.addWidget(self.cloud_view, 1)
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(left)
        self.split.addWidget(self.cloud_panel)
        self.split.setStretchFactor(0, 6)
        self.split.setStretchFactor(1, 4)
        self.split.setHandleWidth(8)
        self.split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.split, 1)
        layout.addWidget(self.scrubber)
        self.tabs.choose("frames")

        director.frameReady.connect(self._on_frame)
        director.renderingReady.connect(self.frame_view.set_rendering)
        director.cloudReady.connect(self._on_cloud)
        director.thumbnailReady.connect(self.scrubber.add_thumbnail)
        self.scrubber.wantThumbnails.connect(director.ask_thumbnails)
        self.scrubber.scrubbed.connect(project.select_frame)
        project.frameChanged.connect(self.scrubber.set_index)
        project.recordingChanged.connect(self._on_recording)
        project.modelsChanged.connect(self._on_models)
        project.objectChanged.connect(self._on_object)
        project.posesChanged.connect(self._say_origin)
        self.frame_view.lookChanged.connect(self.cloud_view.set_look)
        self.cloud_view.large.toggled.connect(self._on_large)
        director.layers.changed.connect(self._say_origin)
        director.predictions.arrived.connect(self._say_origin)
        self.probes.probeChanged.connect(self._on_probe)
        self.probes.probeChosen.connect(self._visit_probe)
        director.predictions.pinnedChanged.connect(self._on_pinned)
        director.predictions.arrived.connect(self._look_through)
        director.frameReady.connect(self._look_through)

    @property
    def page(self) -> str:
        return self.tabs.chosen

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.scrubber.set_low(self.height() < LOW)

    def offer(self, pages: tuple[str, ...]) -> None:
        """Which pages the present step has; with one there is nothing to choose."""
        self.tabs.offer(pages)
        self.tabs.setVisible(len(pages) > 1)
        if self.page not in pages:
            self.show_page(pages[0])

    def show_page(self, page: str) -> None:
        self.tabs.choose(page)

    def _on_large(self, large: bool) -> None:
        """The 3D view alone, or beside the picture."""
        self.left.setVisible(not large)
        self.largeChanged.emit(large)

    def add_preview(self, preview: Preview, *, first: bool = False) -> None:
        """A preview of the job that is followed."""
        if "gallery" in preview.arrays:
            self.show_gallery(preview.arrays["gallery"], f"step {preview.step}")
        self.probes.add(preview, first=first)

    def show_gallery(self, picture: np.ndarray, note: str) -> None:
        self.gallery.set_image(to_image(picture))
        self.gallery_note.setText(note)

    def clear_gallery(self) -> None:
        self.gallery.set_image(None)
        self.gallery_note.setText("")

    def shows(self, preview_name: str) -> bool:
        """Whether a preview of this (file) name would be seen."""
        return self.isVisible() and self.page != "frames"

    def _frame_of(self, preview: Preview) -> int | None:
        recording = self.project.recording
        return None if recording is None else recording.index_of(preview.frame)

    def probe_frame(self) -> int | None:
        """The frame of the probe that is chosen, where it is one of the open recording."""
        return None if self.probes.newest is None else self._frame_of(self.probes.newest)

    def _visit_probe(self) -> None:
        """A checkpoint is looked through at the selected frame: that of the chosen probe."""
        index = self.probe_frame()
        if self.probes.at is not None and index is not None:
            self.project.select_frame(index)

    def _on_pinned(self, network: Network | None) -> None:
        mine = network is not None and network.run == self.probes.run
        self.probes.look_through(network.step if network is not None and mine else None)
        self._want_cloud()
        self._look_through()

    def _look_through(self, *_: object) -> None:
        """Draw what the checkpoint that is looked through finds on the chosen probe."""
        network, frame, newest = (
            self.director.predictions.pinned, self.director.frame, self.probes.newest,
        )  # fmt: skip
        if self.page != "probes" or self.probes.at is None or network is None or newest is None:
            return
        if frame is None or frame.index != self.probe_frame():
            return
        poses = self.director.predictions.poses(network, frame.index)
        if poses is None:
            return
        shown = Preview(self.probes.at, newest.name, {"rgb": frame.rgb},
                        [pose.to_dict() for pose in poses], newest.frame)  # fmt: skip

        def drawn(view: RenderData) -> None:
            mask = 255 * view.mask.astype(np.uint8)
            arrays = {**shown.arrays, "rendered": view.rgb, "rendered_mask": mask}
            self.probes.show_through(replace(shown, arrays=arrays))

        if poses:
            self.director.engine.request("render", self.project.model_files, poses, frame.K,
                                         frame.size, key="probe picture", done=drawn,
                                         failed=self.director.failed.emit)  # fmt: skip
        else:
            self.probes.show_through(shown)

    def _want_cloud(self) -> None:
        """Probes bring their own clouds; a checkpoint's is that of the frame."""
        self.director.cloud_wanted = self.page == "frames" or (
            self.page == "probes" and self.probes.at is not None
        )

    def _on_page(self, page: str) -> None:
        held = QApplication.focusWidget()
        self.stack.setCurrentWidget(self.pages[page])
        if page == "synthetic":
            self.cloud_view.large.setChecked(False)
        self.cloud_panel.setVisible(page != "synthetic")
        self.scrubber.setVisible(page == "frames")
        self._want_cloud()
        self.cloud_view.set_clouds({})  # the other page's cloud
        if page == "probes":
            self._visit_probe()
            self._look_through()
            self._on_probe(self.probes.newest)
        elif page == "frames":
            self._say_cloud()
            self.director.refresh_cloud()
        if held is not None and self.isAncestorOf(held) and not usable(held):
            land(self.pages[page])
        self.pageChanged.emit(page)

    def _on_recording(self) -> None:
        info = self.project.recording
        self.scrubber.set_recording(info)
        self.frame_view.offer_depth(info is None or info.has_depth)
        self._say_frame()
        self._say_cloud()

    def _say_frame(self) -> None:
        """What stands in the picture's place until it comes."""
        nothing = NO_FRAME if self.project.recording is None else READING
        self.frame_view.canvas.message = self.director.unreadable or nothing
        self.frame_view.canvas.update()

    def _say_cloud(self) -> None:
        """What stands in the cloud's place until it comes."""
        info = self.project.recording
        if info is None:
            text = "The 3D view shows depth: open an RGB-D recording."
        elif self.director.unreadable:
            text = "The frame cannot be read, so there is no cloud."
        elif info.has_depth:
            text = "Reading the cloud…"
        else:
            text = "This recording has no depth, so there is no cloud."
        self.cloud_view.set_message(text)

    def _on_models(self) -> None:
        self.frame_view.set_models({m.object_id: m for m in self.project.models})

    def _on_object(self, object_id: int | None) -> None:
        self.frame_view.select_object(object_id)

    def _on_frame(self, frame: FrameData | None) -> None:
        info = self.project.recording
        caption = ""
        if frame is not None and info is not None:
            told = info.image_of(frame.index)
            caption = f"frame {frame.index + 1} of {len(info)} is {told} on disk, {frame.name}"
        self._say_frame()
        self.frame_view.set_frame(frame, caption)
        self._say_cloud()
        self._say_origin()

    def _say_origin(self, *_: object) -> None:
        """Over the picture: whose poses each layer shows, and of which frame."""
        frame = self.director.frame
        for layer in self.director.layers:
            told = self.director.told_by(layer) if frame is not None else ""
            text = f"frame {frame.index + 1}, {told}" if frame is not None and told else ""
            self.frame_view.set_note(text, layer.key)

    def _on_cloud(self, clouds: dict[str, CloudData] | None) -> None:
        if self.director.cloud_wanted:
            project = self.project
            model = project.model(project.object_id)
            # another CAD file has the number of the one before, and in another unit its name too
            thing = None if model is None else (model.source, model.diameter)
            place = (project.number, project.recording_path, project.object_id, thing,
                     any(len(cloud.model) for cloud in (clouds or {}).values()))  # fmt: skip
            self.cloud_view.set_clouds(
                clouds or {}, place, self.director.cloud_told, self.director.frame,
                "" if model is None else model.name,
            )  # fmt: skip

    def _on_probe(self, preview: Preview | None) -> None:
        if self.page != "probes":
            return
        if self.probes.at is not None:
            self.director.refresh_cloud()
            return
        arrays = preview.arrays if preview is not None else {}
        if "sensor_points" not in arrays or "model_points" not in arrays:
            self.cloud_view.set_message("The clouds of the probe appear here.")
            self.cloud_view.set_clouds({})
            return
        sensor, model = arrays["sensor_points"], arrays["model_points"]
        place = ("probe", self.probes.choice.currentData())
        self.director.engine.request(
            "distances", model, sensor, key="probe",
            done=lambda distance: self._show_probe_cloud(sensor, model, distance, place),
        )  # fmt: skip

    def _show_probe_cloud(
        self, sensor: np.ndarray, model: np.ndarray, distance: np.ndarray, place: object
    ) -> None:
        if self.page == "probes" and self.probes.at is None:
            grey = np.full((len(sensor), 3), 170, np.uint8)
            cloud = CloudData(sensor, grey, model, distance, model, distance, None)
            told = self.probes.now.caption
            self.cloud_view.set_clouds({"": cloud}, place, {"": told})
