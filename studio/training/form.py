"""A settings form built from a configuration's fields: type, limits, choices and docstring."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.engine.types import FormField
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import Choice, clear, label


class Editor(QWidget):
    """One field's editor. `edited` carries a valid value; invalid text is marked and kept back.

    Attributes:
        problem: why what was typed cannot be used, in a sentence; "" where it can.
    """

    edited = Signal(object)
    judged = Signal()  # `problem` is another

    def __init__(self, field: FormField, empty: str = "") -> None:
        super().__init__()
        self.field, self.problem = field, ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._silent = False
        self.box: QCheckBox | QComboBox | QLineEdit
        if field.kind == "bool":
            self.box = QCheckBox()
            self.box.toggled.connect(self._on_edit)
        elif field.choices:
            self.box = Choice(field.key)
            self.box.addItems([str(c) for c in field.choices])
            self.box.currentIndexChanged.connect(self._on_edit)
        else:
            self.box = QLineEdit()
            self.box.setPlaceholderText(empty)
            self.box.editingFinished.connect(self._on_edit)
        self.box.setToolTip(field.doc)
        self.box.setAccessibleName(field.key)
        layout.addWidget(self.box)
        self.value: Any = None
        self.set_value(field.value)

    @property
    def typing(self) -> bool:
        """Whether it is under someone's fingers."""
        return isinstance(self.box, QLineEdit) and self.box.hasFocus() and self.box.isModified()

    def set_value(self, value: Any) -> None:
        """Show a value without telling anyone; what cannot be used stays until it is replaced."""
        if self.problem and value == self.value:
            return
        self._silent = True
        self.value = value
        if isinstance(self.box, QCheckBox):
            self.box.setChecked(bool(value))
        elif isinstance(self.box, QComboBox):
            self.box.setCurrentIndex(max(self.box.findText(str(value)), 0))
        else:
            self.box.setText(_show(value))
            self._mark("")
        self._silent = False

    def _on_edit(self, *_: object) -> None:
        if self._silent:
            return
        try:
            value = self._read()
        except ValueError as error:
            self._mark(str(error))
            return
        self._mark("")
        if value != self.value:
            self.value = value
            self.edited.emit(value)

    def _read(self) -> Any:
        if isinstance(self.box, QCheckBox):
            return self.box.isChecked()
        if isinstance(self.box, QComboBox):
            return self.field.choices[self.box.currentIndex()]
        return parse(self.box.text(), self.field)

    def _mark(self, problem: str) -> None:
        if isinstance(self.box, QLineEdit):
            before, name = self.problem, self.field.key.replace("_", " ")
            typed = f"{self.box.text().strip()!r} cannot be used, it has to be {problem}."
            self.problem = f"{name}: {typed}" if problem else ""
            if bool(self.box.property("invalid")) != bool(problem):
                self.box.setProperty("invalid", bool(problem))
                self.box.style().unpolish(self.box)
                self.box.style().polish(self.box)
            self.box.setToolTip(problem or self.field.doc)
            if self.problem != before:
                self.judged.emit()


def parse(text: str, field: FormField) -> Any:
    """Text to the field's type.

    Raises:
        ValueError: one line that says what is wrong.
    """
    text = text.strip()
    if not text and field.optional:
        return None
    if field.kind in ("tuple", "list"):
        parts = [p for p in text.replace(";", ",").split(",") if p.strip()]
        return tuple(_scalar(p.strip()) for p in parts)
    if field.kind not in ("int", "float"):
        return text
    try:
        value = int(text) if field.kind == "int" else float(text)
    except ValueError:
        raise ValueError("a whole number" if field.kind == "int" else "a number") from None
    if not math.isfinite(value):
        raise ValueError("a finite number")
    if field.minimum is not None and value < field.minimum:
        raise ValueError(f"at least {field.minimum:g}")
    if field.maximum is not None and value > field.maximum:
        raise ValueError(f"at most {field.maximum:g}")
    return value


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ", ".join(_show(v) for v in value)
    return str(value)


class Section(QWidget):
    """A titled part of the form that folds."""

    def __init__(self, title: str, *, open_: bool) -> None:
        super().__init__()
        self._switch = QToolButton()
        self._switch.setText(title)
        self._switch.setCheckable(True)
        self._switch.setChecked(open_)
        self._switch.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._switch.toggled.connect(self._fold)
        self.body = QWidget()
        self.grid = QGridLayout(self.body)
        self.grid.setContentsMargins(4, 0, 0, 8)
        self.grid.setHorizontalSpacing(8)
        self.grid.setVerticalSpacing(4)
        self.grid.setColumnStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._switch)
        layout.addWidget(self.body)
        theme.changed.connect(self._dress)
        self._fold(open_)

    def _fold(self, open_: bool) -> None:
        self.body.setVisible(open_)
        self._dress()

    def _dress(self) -> None:
        name = "chevron-down" if self._switch.isChecked() else "chevron-right"
        self._switch.setIcon(icon(name, "muted"))

    def open(self) -> None:
        self._switch.setChecked(True)


class SettingsForm(QWidget):
    """All fields of a configuration in sections. Values that differ from the preset are bold.

    `edited` carries (key, value).
    """

    edited = Signal(str, object)
    judged = Signal()

    def __init__(self, *, skip: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._skip = skip
        self._fields: dict[str, FormField] = {}
        self._editors: dict[str, Editor] = {}
        self._names: dict[str, QLabel] = {}
        self._sections: dict[str, Section] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self.filter = QLineEdit()
        self.filter.setAccessibleName("Setting to look for")
        self.filter.setPlaceholderText("Find a setting")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._on_filter)
        self._layout.addWidget(self.filter)
        self._inner = QVBoxLayout()
        self._inner.setSpacing(4)
        self._layout.addLayout(self._inner)

    def set_fields(self, fields: list[FormField], overrides: dict[str, Any]) -> None:
        """Build the form.

        Args:
            fields: with the preset's values. overrides: values that replace them, by key.
        """
        clear(self._inner)
        self._fields = {f.key: f for f in fields if not f.key.startswith(self._skip)}
        self._editors.clear()
        self._names.clear()
        self._sections.clear()
        for key, field in self._fields.items():
            section, _, name = key.rpartition(".")
            if section not in self._sections:
                self._sections[section] = Section(section.replace(".", " · "), open_=False)
                self._inner.addWidget(self._sections[section])
            self._add_row(self._sections[section], name, field)
        self.show_values(overrides)

    def show_values(self, overrides: dict[str, Any]) -> None:
        for key, editor in self._editors.items():
            editor.set_value(overrides.get(key, self._fields[key].value))
            font = self._names[key].font()
            font.setBold(key in overrides)
            self._names[key].setFont(font)

    @property
    def ready(self) -> bool:
        """Whether the fields are there; they come from the helper process."""
        return bool(self._editors)

    @property
    def problem(self) -> str:
        """What was typed and cannot be used; "" if all can."""
        return next((e.problem for e in self._editors.values() if e.problem), "")

    def editor(self, key: str) -> Editor:
        return self._editors[key]

    def _add_row(self, section: Section, name: str, field: FormField) -> None:
        text = name.replace("_", " ")
        caption = label(text, "muted")
        caption.setToolTip(f"<b>{field.key}</b><br>{field.doc}")
        caption.setText(QFontMetrics(caption.font()).elidedText(
            text, Qt.TextElideMode.ElideRight, 130))  # fmt: skip
        editor = Editor(field)
        editor.edited.connect(lambda value, key=field.key: self.edited.emit(key, value))
        editor.judged.connect(self.judged)
        line = section.grid.rowCount()
        section.grid.addWidget(caption, line, 0)
        section.grid.addWidget(editor, line, 1)
        self._editors[field.key] = editor
        self._names[field.key] = caption

    def _on_filter(self, text: str) -> None:
        words = text.lower().split()
        for section_name, section in self._sections.items():
            any_shown = False
            for key, field in self._fields.items():
                if key.rpartition(".")[0] != section_name:
                    continue
                haystack = f"{key} {field.doc}".lower().replace("_", " ")
                shown = all(w.replace("_", " ") in haystack for w in words)
                self._editors[key].setVisible(shown)
                self._names[key].setVisible(shown)
                any_shown = any_shown or shown
            section.setVisible(any_shown)
            if words and any_shown:
                section.open()
