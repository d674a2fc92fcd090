"""What the doctor found in the recording and the models, each finding with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from self6d.paths import user_state
from studio.engine import Engine, Failure
from studio.engine.types import ModelCard, ModelFiles, RecordingInfo
from studio.jobs.run_info import free_name
from studio.model.edits import FunctionEdit
from studio.model.project import Project
from studio.toolkit.dialogs import copy_text
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import (
    Choice,
    ElidedLabel,
    IconButton,
    button,
    clear,
    column,
    label,
    row,
    scrolled,
)
from studio.toolkit.words import in_window, sentence

MARKS = {
    "error": ("circle-x", "bad"), "warning": ("triangle-alert", "warn"), "info": ("info", "muted"),
}  # fmt: skip


NO_COPY = "No corrected copy can be made"
NAME_WIDTH = 104  # pixels of a fact's name; an object's may be a file's long one
UNITS = ("auto", "m", "cm", "mm", "inch")
# findings whose words leave it to the path which file they are of
OF_A_FILE = ("note", "model", "files")


class DoctorPanel(QWidget):
    """Examines whatever is opened. A fix writes a corrected copy and opens that; undo goes back."""

    failed = Signal(object)
    said = Signal(str, str)  # level, text
    unitChosen = Signal(str)  # of the CAD files
    stateChanged = Signal(str, str)  # state of the data step and why

    def __init__(self, project: Project, engine: Engine) -> None:
        super().__init__()
        self.project, self.engine = project, engine
        self.report: dict[str, Any] = {}
        self._older = False  # the report is of what was there before
        self._soon = QTimer(self, singleShot=True, interval=0)  # recording and models at once
        self._soon.timeout.connect(self._examine_whole)
        self.facts = QGridLayout()
        self.facts.setHorizontalSpacing(12)
        self.facts.setVerticalSpacing(4)
        self.facts.setColumnStretch(1, 1)
        self.verdict = label("", "title", wrap=True)
        self.fix_buttons: dict[int, QPushButton] = {}  # by number of the finding
        self.unit = Choice("Unit of the CAD files")
        self.unit.addItems(UNITS)
        self.unit.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.unit.setToolTip("Unit of the CAD files that state none; every job takes it too")
        self.unit.activated.connect(lambda i: self.unitChosen.emit(UNITS[i]))
        self.unit_row = QWidget()
        self.unit_row.setLayout(row(label("CAD unit", "muted"), self.unit, 1))
        self._cards = QVBoxLayout()
        self._cards.setSpacing(8)
        self.fix_all = button("Fix all that can be fixed", self._on_fix_all)
        self.no_copy = label("", "small", wrap=True)
        self.again = IconButton("refresh-cw", "Examine again", self.examine)
        self.copy_button = IconButton("copy", "Copy the findings", self._on_copy)
        content = QWidget()
        head = row(self.verdict, self.copy_button, self.again)
        head.setStretch(0, 1)
        parts = (head, self.facts, self.unit_row, self._cards, self.no_copy, row(self.fix_all, 1))
        content.setLayout(column(*parts, 1, margin=12, gap=12))
        self.setLayout(column(scrolled(content, whole=True)))
        project.recordingChanged.connect(self._on_recording)
        project.modelsChanged.connect(self._show_unit)
        project.modelsChanged.connect(self._soon.start)
        theme.changed.connect(self._fill)
        self._say("Open a recording and the doctor looks it over.")
        self._show_unit()

    def examine(self) -> None:
        """Look the open recording over, in the background."""
        recording, models = self.project.recording, self.project.model_files
        if recording is None:
            return
        self._say(f"Examining…{self._before()}")
        self._old(True)
        self.engine.request(
            "doctor", recording.root, models, key="doctor", failed=self._on_failed,
            done=lambda report: self._on_report(recording, report),
            partial=lambda got: self._on_progress(recording, *got),
        )  # fmt: skip

    def _before(self) -> str:
        """Said while the cards are not of what is examined now."""
        return " What is below is the report before." if self.report else ""

    def fix(self, numbers: list[int]) -> None:
        """Write a copy with these findings corrected (and those accepted before), and open it."""
        recording = self.project.recording
        if recording is None:
            return
        original = self.report.get("path", recording.root)
        out = free_name(user_state() / "corrected", Path(original).name)
        self._say("Writing a corrected copy…")
        self.engine.request(
            "doctor_fix", numbers, str(out), key="fix", failed=self._on_failed,
            done=lambda info: self._on_fixed(recording, info, numbers),
        )  # fmt: skip

    def _on_recording(self) -> None:
        self.report = {}
        clear(self._cards)
        clear(self.facts)
        self.fix_all.hide()
        if self.project.recording is None:
            self._say("Open a recording and the doctor looks it over.")
            self.stateChanged.emit("", "")
        else:
            self._say("Examining…")
            self._soon.start()

    def _examine_whole(self) -> None:
        """Look it over once its models are there too."""
        if not self.project.awaits_models:
            self.examine()

    def _on_report(self, recording: RecordingInfo, report: dict[str, Any]) -> None:
        if self.project.recording is recording:
            self.report = report
            self._show()

    def _on_progress(self, recording: RecordingInfo, what: str, done: int, total: int) -> None:
        if self.project.recording is recording and done < total:
            self._say(f"Examining {what}: {done} of {total}…{self._before()}")

    def _on_fixed(self, before: RecordingInfo, after: RecordingInfo, numbers: list[int]) -> None:
        """The copy's models come with it: symmetries and units are corrected there."""
        if after.models is None:
            self._swap(before, after, numbers, None)
            return
        self.engine.request(
            "load_models", ModelFiles((after.models,)), key="models", failed=self._on_failed,
            done=lambda models: self._swap(before, after, numbers, models),
        )  # fmt: skip

    def _swap(
        self,
        before: RecordingInfo,
        after: RecordingInfo,
        numbers: list[int],
        models: list[ModelCard] | None,
    ) -> None:
        project = self.project
        old = (project.model_paths, project.models, project.unit)
        new = old if models is None else ([Path(str(after.models))], models, "auto")

        def put(info: RecordingInfo, which: tuple[list[Path], list[ModelCard], str]) -> None:
            project.set_models(*which)
            project.swap_recording(info)

        what = self.report["findings"][numbers[0]]["code"] if len(numbers) == 1 else "findings"
        project.undo.push(FunctionEdit(
            f"Fix {what}",
            lambda: put(after, new), lambda: put(before, old),
        ))  # fmt: skip

    def _show_unit(self) -> None:
        """Which unit the CAD files are read in, and whether that was a guess."""
        project = self.project
        self.unit_row.setVisible(bool(project.models))
        guessed = sorted({m.guessed_unit for m in project.models if m.guessed_unit})
        stated = ", ".join(sorted({m.unit for m in project.models}))
        told = f"guessed: {', '.join(guessed)}" if guessed else "as stated"
        if project.unit == "auto" and not guessed:
            told = f"as stated: {stated}"
        self.unit.setItemText(0, told)
        self.unit.setCurrentIndex(UNITS.index(project.unit))

    def _on_failed(self, failure: Failure) -> None:
        self._say(f"The doctor could not finish.{self._before()}")
        self._old(False)
        self.failed.emit(failure)

    def _on_fix_all(self) -> None:
        findings = self.report.get("findings", [])
        self.fix([i for i, f in enumerate(findings) if f["fixable"]])

    def _on_copy(self) -> None:
        lines = [f"{name}: {text}" for name, text in facts(self.report)]
        for f in self.report.get("findings", []):
            lines.append(f"{f['severity']} {f['code']}: {f['path']} {f['what']} {f['remedy']}")
        if self.report.get("no_copy"):
            lines.append(self.no_copy.text())
        copy_text("\n".join(lines))
        self.said.emit("good", "In the clipboard: what the doctor found.")

    def _old(self, old: bool) -> None:
        """Findings of what was there before stay in sight, but are no longer said to hold."""
        self._older = old
        for layout in (self._cards, self.facts):
            for i in range(layout.count()):
                item = layout.itemAt(i)
                widget = item.widget() if item is not None else None
                if widget is not None:
                    widget.setEnabled(not old)

    def _say(self, text: str) -> None:
        self.verdict.setText(text)
        self.fix_all.hide()
        self.no_copy.hide()

    def _show(self) -> None:
        findings = self.report["findings"]
        grave = sum(f["severity"] == "error" for f in findings)
        warned = sum(f["severity"] == "warning" for f in findings)
        if grave:
            text, state = f"{grave} thing{'s' * (grave > 1)} must be mended", "bad"
        elif warned:
            text, state = f"Usable, {warned} warning{'s' * (warned > 1)}", "warn"
        else:
            text, state = "Nothing wrong was found in what was checked", "ok"
        self._older = False
        self._fill()
        self.verdict.setText(text)
        fixable = [f for f in findings if f["fixable"]]
        self.fix_all.setVisible(len(fixable) > 1)
        self.no_copy.setText(f"{NO_COPY}: {self.report['no_copy']}.")
        self.no_copy.setVisible(bool(self.report["no_copy"]))
        self.stateChanged.emit(state, text)

    def _fill(self) -> None:
        """Facts and findings in the colours of the theme; what is said of them stays."""
        report = self.report
        if not report:
            return
        clear(self._cards)
        clear(self.facts)
        self.fix_buttons.clear()
        for line, (name, value) in enumerate(facts(report)):
            named = ElidedLabel(name, "muted", Qt.TextElideMode.ElideMiddle)
            named.setMaximumWidth(NAME_WIDTH)
            self.facts.addWidget(named, line, 0, Qt.AlignmentFlag.AlignTop)
            self.facts.addWidget(label(value, wrap=True, select=True), line, 1)
        for number, finding in enumerate(report["findings"]):
            self._cards.addWidget(self._card(number, finding))
        self._old(self._older)

    def _card(self, number: int, finding: dict[str, Any]) -> QFrame:
        card = QFrame()
        card.setObjectName("card")
        mark = QLabel()
        mark.setPixmap(icon(*MARKS[finding["severity"]]).pixmap(16, 16))
        mark.setFixedWidth(20)
        place = Path(finding["path"]).name if finding["path"] else ""
        what = in_window(finding["what"])
        of_one = finding["code"] in OF_A_FILE and " times: " not in what
        what = f"{place}: {what}" if of_one and place and place not in what else sentence(what)
        lines = [label(what, wrap=True, select=True)]
        if finding["remedy"]:
            lines.append(label(in_window(finding["remedy"]), "small", wrap=True, select=True))
        if finding["fixable"]:
            one = button(
                "Fix",
                lambda: self.fix([number]),
                "",
                "Write a corrected copy and open it; the original stays, Undo returns",
            )
            self.fix_buttons[number] = one
            lines.append(row(one, 1))  # type: ignore[arg-type]
        body = column(*lines, gap=4)
        line = row(column(mark, 1), body)
        line.setStretch(1, 1)
        card.setLayout(column(line, margin=8))
        card.setToolTip(f"{finding['code']}  {place}".strip())
        return card


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What the recording and the models are, as names and values."""
    found = []
    if report.get("kind"):
        found.append(("Layout", f"{report['kind']} ({report['reason']})"))
    if report.get("image_size"):
        h, w = report["image_size"]
        found.append(("Frames", f"{report['frames']} of {w} × {h}"))
    if report.get("camera"):
        camera = report["camera"]
        found.append(("Focal", f"{camera['fx']:.1f}, {camera['fy']:.1f} px"))
        found.append(("Centre", f"{camera['cx']:.1f}, {camera['cy']:.1f} px"))
    if report.get("depth"):
        depth = report["depth"]
        found.append(("Depth", f"{100 * depth['valid']:.0f} % valid, {depth['near_m']:.2f} to "
                               f"{depth['far_m']:.2f} m"))  # fmt: skip
    for model in report.get("models", []):
        about = f"{1000 * model['diameter_m']:.0f} mm, {model['color']}"
        symmetry = model["symmetry"]
        found.append((model["name"], f"{about}, {symmetry}" if symmetry else about))
    found += [("Not checked", text) for text in report.get("unchecked", [])]
    return found
