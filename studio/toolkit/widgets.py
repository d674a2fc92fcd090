"""Small widgets and layout helpers, so that spacing and names are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from studio.toolkit.boxes import NotByWheel
from studio.toolkit.focus import KeepsPlace, tab_to_checked
from studio.toolkit.long_words import WrappedLabel
from studio.toolkit.theme import icon, theme

GAP = 8
BoxLayout = TypeVar("BoxLayout", QHBoxLayout, QVBoxLayout)


def row(*items: QWidget | QLayout | int | None, margin: int = 0, gap: int = GAP) -> QHBoxLayout:
    """Things side by side; an integer is a stretch, None is skipped."""
    return _fill(QHBoxLayout(), items, margin, gap)


def column(*items: QWidget | QLayout | int | None, margin: int = 0, gap: int = GAP) -> QVBoxLayout:
    """Things on top of each other; an integer is a stretch, None is skipped."""
    return _fill(QVBoxLayout(), items, margin, gap)


def _fill(layout: BoxLayout, items: Iterable, margin: int, gap: int) -> BoxLayout:
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(gap)
    for item in items:
        if isinstance(item, QWidget):
            layout.addWidget(item)
        elif isinstance(item, QLayout):
            layout.addLayout(item)
        elif isinstance(item, int):
            layout.addStretch(item)
    return layout


def label(text: str = "", name: str = "", *, wrap: bool = False, select: bool = False) -> QLabel:
    """A label in one of the style sheet's roles: title, heading, muted, small, section, ...

    Args:
        wrap: its lines break, see `WrappedLabel`.
    """
    result = WrappedLabel(text) if wrap else QLabel(text)
    if name:
        result.setObjectName(name)
    if select:
        result.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return result


class ElidedLabel(QLabel):
    """One line that never asks for room: what does not fit becomes dots and is in the tool tip.

    Args:
        elide: where the dots stand.
    """

    def __init__(
        self, text: str = "", name: str = "",
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self._elide, self._shorter = elide, ""
        self.setToolTip(text)
        self.setObjectName(name)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def setText(self, text: str, shorter: str = "") -> None:
        """`shorter` is drawn where `text` does not fit."""
        super().setText(text)
        self.setToolTip(text)
        self._shorter = shorter

    def drawn(self) -> str:
        """What is drawn in the room there is."""
        metrics, width, text = self.fontMetrics(), self.contentsRect().width(), self.text()
        if self._shorter and metrics.horizontalAdvance(text) > width:
            text = self._shorter
        return metrics.elidedText(text, self._elide, width)

    def minimumSizeHint(self) -> QSize:
        return QSize(10, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        flags = int(self.alignment() | Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(self.contentsRect(), flags, self.drawn())


class Button(KeepsPlace, QPushButton):
    """A push button that keeps the keyboard's place when it goes off."""


def button(
    text: str, on_click: Callable[[], object] | None = None, name: str = "", tip: str = ""
) -> QPushButton:
    """A push button; `name` "primary", "danger" or "link" changes its look."""
    result = Button(text)
    if name:
        result.setObjectName(name)
    if tip:
        result.setToolTip(tip)
    if on_click is not None:
        result.clicked.connect(lambda: on_click())
    return result


class IconButton(KeepsPlace, QToolButton):
    """A small button with a line icon that follows the theme."""

    def __init__(
        self,
        icon_name: str,
        tip: str,
        on_click: Callable[[], object] | None = None,
        *,
        checkable: bool = False,
    ) -> None:
        super().__init__()
        self._icon_name = icon_name
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setCheckable(checkable)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setIconSize(QSize(16, 16))
        if on_click is not None:
            self.clicked.connect(lambda: on_click())
        self.toggled.connect(self._dress)
        theme.changed.connect(self._dress)
        self._dress()

    def set_icon_name(self, name: str) -> None:
        self._icon_name = name
        self._dress()

    def _dress(self) -> None:
        self.setIcon(icon(self._icon_name, "accent" if self.isChecked() else "text"))


class Segments(QWidget):
    """A row of joined buttons of which one is down.

    Args:
        choices: (key, text, tip) of each.
        on_choose: called with the key when the user (or `choose`) changes it.
    """

    def __init__(
        self, choices: Iterable[tuple[str, str, str]], on_choose: Callable[[str], object]
    ) -> None:
        super().__init__()
        self.setObjectName("plain")
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._buttons: dict[str, QToolButton] = {}
        layout = row(gap=0)
        for key, text, tip in choices:
            one = QToolButton()
            one.setObjectName("segment")
            one.setText(text)
            one.setToolTip(tip)
            one.setCheckable(True)
            tab_to_checked(one)
            one.toggled.connect(lambda on, key=key: on_choose(key) if on else None)
            self._group.addButton(one)
            self._buttons[key] = one
            layout.addWidget(one)
        self.setLayout(layout)
        self.offer(tuple(self._buttons))  # shown before they have a parent, they were windows
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @property
    def chosen(self) -> str:
        return next((key for key, b in self._buttons.items() if b.isChecked()), "")

    @property
    def offered(self) -> tuple[str, ...]:
        return tuple(key for key, b in self._buttons.items() if not b.isHidden())

    def choose(self, key: str) -> None:
        self._buttons[key].setChecked(True)

    def offer(self, keys: tuple[str, ...]) -> None:
        """Show only these choices; the outer ones get the round corners."""
        for key, one in self._buttons.items():
            one.setVisible(key in keys)
            place = {keys[0]: "first", keys[-1]: "last"}.get(key, "")
            one.setProperty("place", place)
            one.style().unpolish(one)
            one.style().polish(one)

    def button(self, key: str) -> QToolButton:
        return self._buttons[key]


class Panel(QFrame):
    """A titled card.

    Attributes:
        body: where content goes.
        head: the row of the title, for small buttons at its right end.
    """

    def __init__(self, title: str = "", *, margin: int = 12) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.body = column(gap=GAP)
        self.head = row()
        self.title = label(title, "title")
        outer = column(margin=margin)
        if title:
            self.head.addWidget(self.title)
            self.head.addStretch(1)
            outer.addLayout(self.head)
        outer.addLayout(self.body)
        self.setLayout(outer)


class Hint(QWidget):
    """What an empty panel says: one sentence and, perhaps, the button that helps."""

    def __init__(
        self, text: str, action: str = "", on_click: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.text = label(text, "muted", wrap=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        items: list = [1, self.text]
        if action:
            self.button = button(action, on_click)
            items.append(row(1, self.button, 1))
        items.append(1)
        self.setLayout(column(*items, margin=16, gap=12))


class Choice(NotByWheel, QComboBox):
    """A combo box that does not grow with its longest entry; the list of entries does.

    Of a name that does not fit beginning and end are seen, where runs of one stem differ, and the
    whole of it in the tool tip.

    Args:
        name: what is chosen, for who cannot see the label beside it.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.view().setAccessibleName(name)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)

    def shown(self) -> str:
        """What the closed box says."""
        return self.currentText()

    def showPopup(self) -> None:
        bar = self.view().verticalScrollBar().sizeHint().width()
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + bar + 2 * GAP)
        super().showPopup()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and self._fitted() != self.shown():
            told = "\n".join(filter(None, (self.shown(), self.toolTip())))
            QToolTip.showText(event.globalPos(), told, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self._fitted()  # type: ignore[attr-defined]
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _fitted(self) -> str:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        place = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        return self.fontMetrics().elidedText(
            self.shown(), Qt.TextElideMode.ElideMiddle, place.width()
        )


def captioned(*rows: tuple[str, QWidget] | QWidget) -> QGridLayout:
    """Captions and what they name beside them; a widget alone takes the whole width.

    A QFormLayout forgets how high wrapped text in its rows is.
    """
    grid = QGridLayout()
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(8)
    grid.setColumnStretch(1, 1)
    for line, what in enumerate(rows):
        if isinstance(what, QWidget):
            grid.addWidget(what, line, 0, 1, 2)
        else:
            grid.addWidget(label(what[0], "muted"), line, 0)
            grid.addWidget(what[1], line, 1)
    return grid


class _Scrolled(QScrollArea):
    """Never narrower than its content beside the scroll bar: nothing is cut on the right."""

    def minimumSizeHint(self) -> QSize:
        content, bar = self.widget(), self.verticalScrollBar().sizeHint().width()
        wide = content.minimumSizeHint().width() + bar if content is not None else 0
        return QSize(wide, super().minimumSizeHint().height())


def scrolled(content: QWidget, *, whole: bool = False) -> QScrollArea:
    """A vertical scroll area without a frame.

    Args:
        whole: as wide as the content needs, for panels beside the picture; pages give way.
    """
    area = _Scrolled() if whole else QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    content.setObjectName("plain")
    area.setWidget(content)
    area.viewport().setAutoFillBackground(False)
    return area


def into_view(widget: QWidget) -> None:
    """Scroll whatever it is in, so that it is seen once the layout has settled."""
    area = widget.parentWidget()
    while area is not None and not isinstance(area, QScrollArea):
        area = area.parentWidget()
    if area is not None:
        QTimer.singleShot(50, area, lambda: area.ensureWidgetVisible(widget))


def clear(layout: QLayout) -> None:
    """Remove and delete everything in a layout."""
    while layout.count():
        item = layout.takeAt(0)
        if item is None:
            continue
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()
        elif (inner := item.layout()) is not None:
            clear(inner)


def duration(seconds: float | None) -> str:
    """Such as "6:10" or "1:02:03"."""
    if seconds is None:
        return "…"
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
