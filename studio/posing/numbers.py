"""A pose as numbers that can be typed over."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QDoubleSpinBox, QGridLayout, QWidget

from studio.engine.types import PoseData
from studio.posing.nudge import from_angles, to_angles
from studio.toolkit.boxes import RealSpin
from studio.toolkit.widgets import label

PLACES = (
    ("x", "To the right of the camera's axis"), ("y", "Below the camera's axis"),
    ("z", "Away from the camera"),
)  # fmt: skip
TURNS = (
    ("roll", "About the camera's x axis (right), first"),
    ("pitch", "About the camera's y axis (down), then"),
    ("yaw", "About the camera's z axis (forward), last"),
)
TEXT = "Type numbers"


class PoseNumbers(QWidget):
    """Origin of the CAD file in the camera frame, millimetres, and turns about fixed axes."""

    edited = Signal(object, str)  # pose, what was done

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plain")
        self._pose: PoseData | None = None
        self.boxes: dict[str, QDoubleSpinBox] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(6)
        for column, (entries, limit, suffix) in enumerate(
            ((PLACES, 100_000.0, " mm"), (TURNS, 360.0, "°"))
        ):
            for line, (name, tip) in enumerate(entries):
                box = RealSpin()
                box.setRange(-limit, limit)
                box.setDecimals(1)
                box.setSuffix(suffix)
                box.setMinimumWidth(72)
                box.setKeyboardTracking(False)
                box.setToolTip(tip)
                box.setAccessibleName(name)
                box.valueChanged.connect(self._on_value)
                box.installEventFilter(self)
                self.boxes[name] = box
                grid.addWidget(label(name, "muted"), line, 2 * column)
                grid.addWidget(box, line, 2 * column + 1)
                grid.setColumnStretch(2 * column + 1, 1)

    def show_pose(self, pose: PoseData | None) -> None:
        """Show a pose; None empties and locks the boxes."""
        self._pose = pose
        values = [0.0] * 6
        if pose is not None:
            values = [*(1000 * pose.t), *to_angles(pose.R)]
        for box, value in zip(self.boxes.values(), values, strict=True):
            box.blockSignals(True)
            box.setValue(float(value))
            box.setEnabled(pose is not None)
            box.blockSignals(False)

    def eventFilter(self, box: QObject, event: QEvent) -> bool:
        """Undo is the window's, which has the pose; a box keeps it for what is half typed."""
        undo, redo = QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo
        if (
            event.type() != QEvent.Type.ShortcutOverride
            or not isinstance(event, QKeyEvent)
            or not isinstance(box, QDoubleSpinBox)
            or not (event.matches(undo) or event.matches(redo))
            or box.valueFromText(box.lineEdit().text()) != box.value()
        ):
            return False
        event.ignore()
        return True

    def _on_value(self) -> None:
        """What was typed, and only that, differs from the pose."""
        pose = self._pose
        if pose is None:
            return
        shown = [*(1000 * pose.t), *to_angles(pose.R)]
        told = [box.value() for box in self.boxes.values()]
        new = [b if abs(a - b) > 0.051 else a for a, b in zip(shown, told, strict=True)]
        R = pose.R
        if new[3:] != shown[3:]:
            R = from_angles(*new[3:])
        t = np.array(new[:3]) / 1000
        self.edited.emit(PoseData(pose.object_id, R, t), TEXT)
