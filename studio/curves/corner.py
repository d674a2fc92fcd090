"""Where the curves are low, what steers them stands beside the tabs: the plot needs the room."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QBoxLayout, QTabWidget

from studio.curves.view import LETTERS, CurvesView

LOW = 170  # height of the tabs, pixels
FEW = 6  # letters of the box of groups that are seen there


class HeadInCorner(QObject):
    """Moves the curves' head into the corner of the tabs they are in, and back."""

    def __init__(self, tabs: QTabWidget, curves: CurvesView) -> None:
        super().__init__(tabs)
        self._tabs, self._curves = tabs, curves
        self.low = False
        tabs.installEventFilter(self)
        tabs.currentChanged.connect(self._show)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        low, curves, corner = self._tabs.height() < LOW, self._curves, Qt.Corner.TopRightCorner
        if low != self.low:
            self.low = low
            if low:
                self._tabs.setCornerWidget(curves.head, corner)
            else:
                self._tabs.setCornerWidget(None, corner)  # type: ignore[arg-type]
                layout = curves.layout()
                assert isinstance(layout, QBoxLayout)
                layout.insertWidget(0, curves.head)
            curves.groups.setMinimumContentsLength(FEW if low else LETTERS)
            curves.readout.setVisible(not low)  # there its numbers stand at the mouse
            self._show()

    def _show(self, *_: object) -> None:
        self._curves.head.setVisible(not self.low or self._tabs.currentWidget() is self._curves)
