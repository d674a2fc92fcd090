"""What stands on top of pictures, in the window's own pixels: notes and the depth scale."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter

from studio.engine.compose import colour_table
from studio.toolkit.theme import small_font

SHADE = QColor(0, 0, 0, 190)
LINE = 26  # pixels from a note to the next
LOW = 8 + 2 * LINE + 66  # of a picture; with less, notes and the depth scale would meet


def paint_note(painter: QPainter, text: str, colour: str = "white", line: int = 0) -> None:
    """A line of text on a dark ground in the upper left corner; a long one loses its middle.

    Args:
        line: below so many others.
    """
    painter.save()
    painter.resetTransform()
    painter.setFont(small_font())
    room = painter.device().width() - 32  # the viewport can be the whole window's
    text = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, room)
    width, top = painter.fontMetrics().horizontalAdvance(text) + 16, 8 + LINE * line
    painter.fillRect(QRectF(8, top, width, 22), SHADE)
    painter.setPen(QColor(colour))
    painter.drawText(QRectF(16, top, width, 22), int(Qt.AlignmentFlag.AlignVCenter), text)
    painter.restore()


def notes_that_fit(notes: Sequence[tuple[str, str]], height: int) -> list[tuple[str, str]]:
    """As many notes as leave half of a picture free, one at least; the last says how many more.

    Args:
        notes: text and colour of each. height: of the picture, pixels.
    """
    room = max(1, (height // 2 - 8) // LINE)
    if len(notes) <= room:
        return list(notes)
    shown, more = list(notes[: max(room - 1, 1)]), len(notes) - max(room - 1, 1)
    told = f"and {more} more: see Layers"
    if room > 1:
        return [*shown, (told, "white")]
    return [(f"{told}. {shown[0][0]}", shown[0][1])]


def paint_depth_scale(
    painter: QPainter, height: int, limit_mm: float, median_mm: float | None
) -> None:
    """The colours of a depth difference in millimetres, in the lower left corner.

    In a low picture it is one line, so that it leaves the notes above their place.

    Args:
        height: of the widget. limit_mm: difference at the ends of the scale.
        median_mm: median absolute difference, None where nothing overlaps.
    """
    painter.save()
    painter.resetTransform()
    painter.setFont(small_font())
    left, right = int(Qt.AlignmentFlag.AlignLeft), int(Qt.AlignmentFlag.AlignRight)
    nearer, farther = f"in front −{limit_mm:.0f}", f"+{limit_mm:.0f} mm behind"
    median = "" if median_mm is None else f"median |difference| {median_mm:.1f} mm"
    if height >= LOW:
        strip = QRectF(20, height - 40, 176, 10)
        painter.fillRect(strip.adjusted(-12, -26, 12, 26), SHADE)
        below = strip.adjusted(0, 12, 0, 18)
        words = [(below, left, nearer), (below, right, farther),
                 (strip.adjusted(0, -20, 0, -6), left, median)]  # fmt: skip
    else:
        wide = painter.fontMetrics().horizontalAdvance
        top, begin = height - 26, 16 + wide(nearer) + 8
        strip = QRectF(begin, top + 6, 48, 10)
        after = QRectF(strip.right() + 8, top + 3, wide(farther), 18)
        painter.fillRect(QRectF(8, top, after.right(), 22), SHADE)
        words = [(QRectF(16, top + 3, wide(nearer), 18), left, nearer), (after, left, farther)]
    image = QImage(colour_table().tobytes(), 256, 1, 768, QImage.Format.Format_RGB888)
    painter.drawImage(strip, image)
    painter.setPen(QColor("white"))
    for place, side, text in words:
        painter.drawText(place, side, text)
    painter.restore()
