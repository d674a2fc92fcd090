"""Light and dark looks: colour tokens, the style sheet filled from them, fonts and icons."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from string import Template

from lucide import lucide_icon
from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontDatabase,
    QGuiApplication,
    QIcon,
    QPainter,
    QPalette,
    QPixmap,
)
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from self6d.paths import resource
from studio.model.layers import BLUE, GREEN, ORANGE


@dataclass(frozen=True)
class Tokens:
    """Every colour of the window. Text on `ground` and `surface` keeps a contrast over 4.5."""

    ground: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    faint: str
    accent: str
    accent_soft: str
    on_accent: str
    good: str
    warn: str
    bad: str
    canvas: str


LIGHT = Tokens(
    ground="#f3f4f6", surface="#ffffff", raised="#e9ebef", line="#d8dbe1", text="#1b1f27",
    muted="#5b6372", faint="#9aa1ae", accent="#2f5fd0", accent_soft="#e3eafb", on_accent="#ffffff",
    good="#1a7f4b", warn="#9a6200", bad="#c03434", canvas="#e4e6eb",
)  # fmt: skip
DARK = Tokens(
    ground="#16181d", surface="#1d2027", raised="#282c35", line="#343945", text="#e6e8ed",
    muted="#a0a7b5", faint="#6b7280", accent="#7aa2ff", accent_soft="#26334f", on_accent="#10131a",
    good="#5ecb94", warn="#e5b054", bad="#ff7b7b", canvas="#101216",
)  # fmt: skip

PREDICTED, START, TRUTH = BLUE, ORANGE, GREEN

# One hue per loss term (Okabe-Ito, readable without colour vision), brightened for the dark look.
TERM_COLOURS = {
    "total": ("#1b1f27", "#f0f2f6"),
    "mask": ("#0072b2", "#56b4e9"),
    "ab": ("#cc79a7", "#e59cc4"),
    "ms_ssim": ("#009e73", "#3cc79d"),
    "perceptual": ("#b07800", "#e6ad2e"),
    "geometry": ("#d55e00", "#ff8a3d"),
}
EXTRA_COLOURS = (
    ("#6d4fc2", "#a78bfa"), ("#7a5230", "#c99a6b"), ("#a11d5b", "#ef6fa8"),
    ("#5b6372", "#a0a7b5"), ("#4d7c0f", "#a3d04f"),
    ("#0e7490", "#67e8f9"), ("#b91c1c", "#ff8f8f"),
)  # fmt: skip


class Theme(QObject):
    """The look in force. Views redraw on `changed`."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.dark = False
        self._worn: Tokens | None = None
        self._spare: dict[str, int] = {}

    @property
    def tokens(self) -> Tokens:
        return DARK if self.dark else LIGHT

    def colour(self, name: str) -> QColor:
        return QColor(getattr(self.tokens, name))

    def term_colour(self, term: str) -> str:
        """Colour of a loss term's curve; terms nobody foresaw take the spare hues in turn."""
        pair = TERM_COLOURS.get(term)
        if pair is None:
            place = self._spare.setdefault(term, len(self._spare))
            pair = EXTRA_COLOURS[place % len(EXTRA_COLOURS)]
        return pair[1 if self.dark else 0]

    def apply(self, name: str) -> None:
        """Wear "light", "dark" or "system" (the desktop's own choice)."""
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        if name == "system":
            self.dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        else:
            self.dark = name == "dark"
        if self.tokens is self._worn:
            return  # every widget there is would be dressed again
        self._worn = self.tokens
        app.setPalette(_palette(self.tokens))
        app.setStyleSheet(_style_sheet(self.tokens))
        icon.cache_clear()
        self.changed.emit()


theme = Theme()


def _palette(t: Tokens) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for where, colour in (
        (role.Window, t.ground), (role.Base, t.surface), (role.AlternateBase, t.ground),
        (role.Button, t.surface), (role.Text, t.text), (role.WindowText, t.text),
        (role.ButtonText, t.text), (role.PlaceholderText, t.muted), (role.Highlight, t.accent),
        (role.HighlightedText, t.on_accent), (role.ToolTipBase, t.raised),
        (role.ToolTipText, t.text), (role.Link, t.accent), (role.Mid, t.line),
    ):  # fmt: skip
        palette.setColor(where, QColor(colour))
    for where in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, where, QColor(t.faint))
    return palette


def _style_sheet(t: Tokens) -> str:
    values = {f.name: getattr(t, f.name) for f in fields(t)}
    for name in ("chevron-down", "chevron-up", "chevron-right", "check"):
        key = name.replace("-", "_")
        values[key] = _tinted_file(name, t.muted if name != "check" else t.on_accent)
    return Template(resource("style/studio.qss").read_text()).substitute(values)


def _tinted_file(name: str, colour: str) -> str:
    """A style sheet can only name files, so tinted copies of its few icons go to the cache."""
    from PySide6.QtCore import QStandardPaths

    root = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.CacheLocation)
    folder = Path(root) / "icons"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{colour.lstrip('#')}.svg"
    if not path.exists():
        path.write_text(_svg(name, colour))
    return path.as_posix()


def _svg(name: str, colour: str) -> str:
    return lucide_icon(name, stroke=colour)


@lru_cache(maxsize=512)
def icon(name: str, token: str = "text") -> QIcon:
    """A line icon in a token's colour (or any colour name), sharp at every scale."""
    colour = getattr(theme.tokens, token, token)
    result = QIcon()
    for tint, mode in (
        (colour, QIcon.Mode.Normal),
        (theme.tokens.faint, QIcon.Mode.Disabled),
    ):
        renderer = QSvgRenderer(QByteArray(_svg(name, tint).encode()))
        for size in (16, 20, 24, 32, 48, 96):
            pixmap = QPixmap(QSize(size, size))
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            renderer.render(painter, QRectF(0, 0, size, size))
            painter.end()
            result.addPixmap(pixmap, mode)
    return result


def install_font(app: QApplication) -> None:
    """Inter where installed, with figures of equal width: changing numbers stand still."""
    font = app.font()
    if "Inter" in QFontDatabase.families():
        font = QFont("Inter")
    font.setPixelSize(13)
    if hasattr(font, "setFeature"):
        font.setFeature(QFont.Tag("tnum"), 1)
    app.setFont(font)


def small_font(pixels: int = 11, *, bold: bool = False) -> QFont:
    """The window's font in another size."""
    font = QFont(QApplication.font())
    font.setPixelSize(pixels)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font
