"""The 3D view: sensor cloud, rendered surface and model, coloured by distance (vispy)."""

from __future__ import annotations

from html import escape

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from studio.engine.types import CloudData, FrameData
from studio.model.layers import Layers
from studio.toolkit.flow import flow
from studio.toolkit.long_words import WrappedLabel, shortened_name
from studio.toolkit.theme import theme
from studio.toolkit.widgets import IconButton, Segments, label
from studio.views.layer_painter import Look

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

    def __init__(self, layers: Layers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plain")
        self.layers = layers
        self.clouds: dict[str, CloudData] = {}
        self.failure = ""
        self._told: dict[str, str] = {}
        self._look = Look()
        self._subject = ""
        self._K: np.ndarray | None = None
        self._width = 0
        self.shown = Segments(SHOWN, lambda key: self._redraw())
        self.colours = IconButton("palette", "Sensor points in their colours", self._redraw,
                                  checkable=True)  # fmt: skip
        self.colours.setChecked(True)
        self.follow = IconButton("crosshair", "Follow the object", self._on_follow, checkable=True)
        self.follow.setChecked(True)
        fit = IconButton("maximize", "Fit (F)", self.fit)
        self.large = IconButton("expand", "Large 3D view, without the picture", checkable=True)
        self.legend = WrappedLabel()
        self.legend.setObjectName("small")
        self.legend.setMinimumSize(10, 16)  # wrapped text must not make the window grow
        self.legend.setAlignment(Qt.AlignmentFlag.AlignTop)  # where room is short, its end is cut
        self.message = label("The 3D view shows depth: open an RGB-D recording.", "muted")
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setWordWrap(True)
        layout = QVBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(flow(self.shown, self.colours, self.follow, fit, self.large))
        self._area = QVBoxLayout()
        self._area.addWidget(self.message, 1)
        layout.addLayout(self._area, 1)
        layout.addWidget(self.legend)
        self.setLayout(layout)
        self._scene: _Scene | None = None
        self._fitted_for: object = None
        self.shown.choose("model")
        theme.changed.connect(self._redraw)
        layers.changed.connect(self._redraw)

    @property
    def cloud(self) -> CloudData | None:
        """Of the uppermost layer."""
        return next(reversed(self.clouds.values()), None)

    def set_message(self, text: str) -> None:
        """What to say while there is nothing to show."""
        self.message.setText(text)

    def set_clouds(
        self,
        clouds: dict[str, CloudData],
        place: object = None,
        told: dict[str, str] | None = None,
        frame: FrameData | None = None,
        subject: str = "",
    ) -> None:
        """Show point sets.

        Args:
            clouds: by layer, the lowest first; "" is none of them.
            place: recording and object; the camera is fitted anew when it changes.
            told: whose pose each is.
            frame: that they belong to, for the line of the wipe.
            subject: name of the object.
        """
        self.clouds, self._told, self._subject = clouds, told or {}, subject
        self._K, self._width = (None, 0) if frame is None else (frame.K, frame.size[1])
        cloud = self.cloud
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

    def set_look(self, look: Look) -> None:
        """Wipe and flicker as the picture does."""
        keys = ("mode", "wipe_at", "turn")
        if any(getattr(look, key) != getattr(self._look, key) for key in keys):
            self._look = look
            if len(self.clouds) > 1 or look.mode == "flicker":
                self._redraw()

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
        cloud = self.cloud
        if self._scene is None or cloud is None:
            return
        if self.colours.isChecked():
            sensor_colours = np.ones((len(cloud.sensor), 4), np.float32)
            sensor_colours[:, :3] = cloud.sensor_rgb / 255
        else:
            grey = 0.7 if theme.dark else 0.35
            sensor_colours = np.full((len(cloud.sensor), 4), grey, np.float32)
        sets = [self._points(key, share) for key, share in self._visible()]
        none = np.zeros((0, 3), np.float32), np.zeros((0, 4), np.float32)
        points, colours = (np.concatenate(parts) for parts in zip(none, *sets, strict=True))
        self._scene.draw(cloud.sensor, sensor_colours, points, colours)
        self.legend.setText(self._legend(), [self._subject])
        self.legend.setToolTip(self.legend.text())

    def _visible(self) -> list[tuple[str, tuple[float, float]]]:
        """Layers in the scene now, each with the part of the image's width that is its own."""
        lower, upper = (None if la is None else la.key for la in self.layers.pair())
        if self._look.mode == "flicker":
            turn = (lower, upper)[self._look.turn]
            return [(key, (0, 1)) for key in self.clouds if key in (turn, "")]
        at = self._look.wipe_at
        if self._look.mode == "wipe" and upper is not None and self._K is not None:
            sides = {lower: (0.0, at), upper: (at, 1.0)}
            return [(key, sides[key]) for key in self.clouds if key in sides]
        return [(key, (0, 1)) for key in self.clouds]

    def _points(self, key: str, share: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) and colours (N, 4): by distance, or the layer's where there are more."""
        cloud = self.clouds[key]
        whole = self.shown.chosen == "model"
        points = cloud.model if whole else cloud.surface
        distance = cloud.distance if whole else cloud.surface_distance
        colours = distance_colours(distance)
        if len(self.clouds) > 1:
            colours[:] = QColor(self.layers[key].colour).getRgbF()
        if share != (0, 1) and self._K is not None and len(points):
            at = (points[:, 0] / points[:, 2] * self._K[0, 0] + self._K[0, 2]) / self._width
            mine = (at >= share[0]) & (at < share[1]) if share[0] else at < share[1]
            points, colours = points[mine], colours[mine]
        return points, colours

    def _legend(self) -> str:
        cloud = self.cloud
        if cloud is None:
            return ""
        errors = {
            key: "" if c.chamfer_mm is None else f"depth error {c.chamfer_mm:.1f} mm"
            for key, c in self.clouds.items()
        }
        if len(self.clouds) > 1:
            subject = escape(shortened_name(self._subject))
            head = f"<b>{subject}</b><br>" if subject else ""
            return head + "<br>".join(
                f'<span style="color:{self.layers[key].colour}">●</span> '
                f"{escape(self._told.get(key, ''))}: {errors[key] or 'no depth to compare'}"
                for key in reversed(self.clouds)
            )
        key = next(iter(self.clouds))
        text = f"model by distance to the sensor: dark 0, yellow ≥ {LIMIT_M * 1000:.0f} mm"
        text = f"{errors[key]} (chamfer) · {text}" if errors[key] else text
        text = text if len(cloud.model) else f"{len(cloud.sensor)} sensor points"
        told = self._told.get(key, "")
        head = f"{self._subject}: " if self._subject and len(cloud.model) else ""
        return f"{head}{told}\n{text}" if told else text


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
        self.widget.setAccessibleName("The 3D view")
        self.widget.setMinimumSize(136, 48)
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
