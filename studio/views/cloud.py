"""The 3D view: sensor cloud, rendered surface and model, coloured by distance (vispy)."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from studio.engine.types import CloudData
from studio.toolkit.theme import theme
from studio.toolkit.widgets import IconButton, Segments, label
from studio.views.flow import flow

LIMIT_M = 0.01
SENSOR_PX, MODEL_PX = 2.5, 3.5
SHOWN = (
    ("model", "Model", "The whole model at the pose"),
    ("surface", "Surface", "What the renderer sees of the model, the part the loss compares"),
)


def distance_colours(distance_m: np.ndarray, limit_m: float = LIMIT_M) -> np.ndarray:
    """Distances (N,) to RGBA (N, 4) float32: dark blue at 0, yellow at the limit and beyond."""
    import pyqtgraph as pg

    table = pg.colormap.get("CET-L8").getLookupTable(0.0, 1.0, 256, alpha=False)
    share = np.clip(np.nan_to_num(distance_m, nan=limit_m) / limit_m, 0, 1)
    out = np.ones((len(distance_m), 4), np.float32)
    out[:, :3] = table[(share * 255).astype(int)] / 255
    return out


class CloudView(QWidget):
    """Orbit with the left button, move with shift, zoom with the wheel; keys F fit, 1/2 front/side.

    Without OpenGL it says so and the rest of the studio goes on.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plain")
        self.cloud: CloudData | None = None
        self.failure = ""
        self._told = ""
        self.shown = Segments(SHOWN, lambda key: self._redraw())
        self.colours = IconButton("palette", "Sensor points in their colours", self._redraw,
                                  checkable=True)  # fmt: skip
        self.colours.setChecked(True)
        self.follow = IconButton("crosshair", "Follow the object", self._on_follow, checkable=True)
        self.follow.setChecked(True)
        fit = IconButton("maximize", "Fit (F)", self.fit)
        self.legend = label("", "small", wrap=True)
        self.legend.setMinimumSize(10, 16)  # wrapped text must not make the window grow
        self.message = label("The 3D view shows depth: open an RGB-D recording.", "muted")
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setWordWrap(True)
        layout = QVBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(flow(self.shown, self.colours, self.follow, fit))
        self._area = QVBoxLayout()
        self._area.addWidget(self.message, 1)
        layout.addLayout(self._area, 1)
        layout.addWidget(self.legend)
        self.setLayout(layout)
        self._scene: _Scene | None = None
        self._fitted_for: object = None
        self.shown.choose("model")
        theme.changed.connect(self._redraw)

    def set_message(self, text: str) -> None:
        """What to say while there is nothing to show."""
        self.message.setText(text)

    def set_cloud(self, cloud: CloudData | None, place: object = None, told: str = "") -> None:
        """Show point sets.

        Args:
            place: recording and object; the camera is fitted anew when it changes.
            told: whose pose this is.
        """
        self.cloud, self._told = cloud, told
        empty = cloud is None or len(cloud.sensor) + len(cloud.model) == 0
        if empty or not self._make_scene():
            self._show_scene(False)
            self.legend.setText("")
            return
        self._show_scene(True)
        self._redraw()
        if place != self._fitted_for:
            self._fitted_for = place
            self.fit()
        elif self.follow.isChecked():
            self._on_follow()

    def fit(self) -> None:
        if self._scene is not None and self.cloud is not None:
            self._scene.fit(np.concatenate((self.cloud.sensor, self.cloud.model)), whole=True)

    def close_scene(self) -> None:
        """Free the GL context."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def _anchor_points(self) -> np.ndarray:
        assert self.cloud is not None
        return self.cloud.model if len(self.cloud.model) else self.cloud.sensor

    def _on_follow(self) -> None:
        if self.follow.isChecked() and self._scene is not None and self.cloud is not None:
            self._scene.fit(self._anchor_points(), whole=False)

    def _make_scene(self) -> bool:
        if self._scene is None and not self.failure:
            try:
                self._scene = _Scene()
            except Exception as error:  # vispy raises what its backend raises
                self.failure = f"The 3D view needs OpenGL, which this display lacks ({error})."
                self.message.setText(self.failure)
                return False
            self._area.addWidget(self._scene.widget, 1)
        return self._scene is not None

    def _show_scene(self, shown: bool) -> None:
        self.message.setVisible(not shown)
        if self._scene is not None:
            self._scene.widget.setVisible(shown)

    def _redraw(self) -> None:
        if self._scene is None or self.cloud is None:
            return
        cloud = self.cloud
        if self.colours.isChecked():
            sensor_colours = np.ones((len(cloud.sensor), 4), np.float32)
            sensor_colours[:, :3] = cloud.sensor_rgb / 255
        else:
            grey = 0.7 if theme.dark else 0.35
            sensor_colours = np.full((len(cloud.sensor), 4), grey, np.float32)
        whole = self.shown.chosen == "model"
        points = cloud.model if whole else cloud.surface
        distance = cloud.distance if whole else cloud.surface_distance
        self._scene.draw(cloud.sensor, sensor_colours, points, distance_colours(distance))
        text = f"model by distance to the sensor: dark 0, yellow ≥ {LIMIT_M * 1000:.0f} mm"
        if cloud.chamfer_mm is not None:
            text = f"depth error {cloud.chamfer_mm:.1f} mm (chamfer) · " + text
        text = text if len(points) else f"{len(cloud.sensor)} sensor points"
        self.legend.setText(f"{self._told}\n{text}" if self._told else text)


def upright(points: np.ndarray) -> np.ndarray:
    """OpenCV camera axes (x right, y down, z forward) to the turntable's (x right, z up)."""
    return np.ascontiguousarray(points[:, [0, 2, 1]] * np.array([1, 1, -1], points.dtype))


class _Scene:
    """vispy's canvas, made only when there is something to draw."""

    def __init__(self) -> None:
        from vispy import scene, use

        use("pyside6")
        self._canvas = scene.SceneCanvas(keys=None, show=False, bgcolor=theme.tokens.canvas)
        self._canvas.create_native()
        self.widget: QLabel = self._canvas.native
        self.widget.setMinimumSize(160, 72)
        self.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        view = self._canvas.central_widget.add_view()
        self._camera = scene.TurntableCamera(fov=30.0, azimuth=-25.0, elevation=15.0)
        view.camera = self._camera
        self._sensor = scene.Markers(parent=view.scene, antialias=0)
        self._model = scene.Markers(parent=view.scene, antialias=0)
        self._canvas.events.key_press.connect(self._on_key)
        self._bounds: np.ndarray | None = None

    def draw(
        self,
        sensor: np.ndarray,
        sensor_colours: np.ndarray,
        points: np.ndarray,
        colours: np.ndarray,
    ) -> None:
        self._canvas.bgcolor = theme.tokens.canvas
        ratio = self.widget.devicePixelRatioF()
        for visual, xyz, rgba, size in (
            (self._sensor, sensor, sensor_colours, SENSOR_PX * ratio),
            (self._model, points, colours, MODEL_PX * ratio),
        ):
            visual.visible = len(xyz) > 0
            if len(xyz):
                visual.set_data(upright(xyz), face_color=rgba, size=size, edge_width=0)
        self._canvas.update()

    def fit(self, points: np.ndarray, *, whole: bool) -> None:
        if not len(points):
            return
        self._bounds = points
        points = upright(points)
        low, high = np.percentile(points, (1, 99), axis=0)
        self._camera.center = tuple((low + high) / 2)
        if whole:
            self._camera.distance = None
            self._camera.scale_factor = float(np.linalg.norm(high - low)) * 0.95
        self._canvas.update()

    def turn(self, azimuth: float, elevation: float) -> None:
        self._camera.azimuth, self._camera.elevation = azimuth, elevation
        self._canvas.update()

    def close(self) -> None:
        self._canvas.close()

    def _on_key(self, event: object) -> None:
        name = getattr(getattr(event, "key", None), "name", "")
        if name == "F" and self._bounds is not None:
            self.fit(self._bounds, whole=True)
        elif name == "1":
            self.turn(0.0, 0.0)
        elif name == "2":
            self.turn(90.0, 0.0)
