"""Tables of results, several runs beside one another and the paper's rows where they compare."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from self6d.evaluation.results import ObjectResult, Results


class Column(NamedTuple):
    """How a score is shown: attribute of `ObjectResult`, heading, factor, digits, LaTeX heading."""

    name: str
    title: str
    factor: float = 100.0
    digits: int = 1
    latex: str = ""

    def show(self, row: ObjectResult) -> str:
        """The score as text; "-" where there is none, "miss" where most targets were missed."""
        value = getattr(row, self.name)
        if value is None:
            return "-"
        if not math.isfinite(value):
            return "miss"
        return f"{self.factor * value:.{self.digits}f}"


COLUMNS = (
    Column("recall_10", "ADD(-S) 10 %", latex=r"ADD(-S) 10\,\%"),
    Column("recall_5", "5 %", latex=r"5\,\%"),
    Column("recall_2", "2 %", latex=r"2\,\%"),
    Column("auc", "AUC"),
    Column("rotation_deg", "rotation deg", 1.0, 2, r"rot.\ $^\circ$"),
    Column("translation_mm", "translation mm", 1.0, 2, "trans. mm"),
    Column("projection_5px", "proj. 5 px"),
    Column("detection_recall", "found"),
    Column("ap_50", "AP50", latex=r"AP$_{50}$"),
    Column("ap", "AP"),
    Column("mask_iou", "mask IoU"),
    Column("mask_iou_found", "mask IoU of found"),
    Column("mask_f1", "mask F1"),
    Column("ar_vsd", "AR VSD", latex=r"AR$_\mathrm{VSD}$"),
    Column("ar_mssd", "AR MSSD", latex=r"AR$_\mathrm{MSSD}$"),
    Column("ar_mspd", "AR MSPD", latex=r"AR$_\mathrm{MSPD}$"),
    Column("ar", "AR"),
)
_SCREEN = (
    "recall_10", "recall_5", "recall_2", "rotation_deg", "translation_mm", "detection_recall",
    "mask_iou", "ar_vsd", "ar_mssd", "ar_mspd", "ar",
)  # fmt: skip

# by the split that is the paper's protocol: its number of objects, and mean ADD(-S) recalls at 10 %
PAPER: dict[str, tuple[int, tuple[tuple[str, float], ...]]] = {
    "lm13-eval": (13, (("LB", 40.1), ("Self6D", 58.9), ("UB", 86.9))),
    "lmo-bop200": (
        8,
        (("LB", 15.1), ("CDPN, synthetic", 20.8), ("Self6D", 32.1), ("Self6D++, RGB-D", 64.7),
         ("UB", 70.2)),
    ),
    "hb3-eval": (3, (("LB", 25.9), ("Self6D", 59.7))),
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Results of several runs on the same frames, in the order to show them.

    Attributes:
        results: one for each run.
    """

    results: tuple[Results, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The scores that at least one run has."""
        rows = [row for result in self.results for row in (*result.objects, result.mean)]
        return tuple(c for c in COLUMNS if any(getattr(r, c.name) is not None for r in rows))

    def rows(self) -> list[tuple[str, str, ObjectResult]]:
        """(object, run, scores), runs of an object under one another, the means last."""
        names = {o.object_id: o.name for result in self.results for o in result.objects}
        table = []
        for object_id, name in sorted(names.items()):
            for result in self.results:
                table += [
                    (name, result.label, o) for o in result.objects if o.object_id == object_id
                ]
        return table + [("mean", result.label, result.mean) for result in self.results]

    def paper(self) -> list[tuple[str, float]]:
        """The paper's mean recalls, per cent, if all objects of its protocol were evaluated."""
        runs = {(result.split, len(result.objects)) for result in self.results}
        split, objects = runs.pop()
        wanted, rows = PAPER.get(split, (0, ()))
        return list(rows) if not runs and objects == wanted else []

    def change(self) -> str:
        """One line: mean recall of the first and of the last run."""
        if len(self.results) < 2:
            return ""
        before, after = (self.results[i].mean.recall_10 or 0.0 for i in (0, -1))
        text = f"mean ADD(-S) recall at 10 %: {100 * before:.1f} -> {100 * after:.1f}"
        return f"{text} ({100 * (after / before - 1):+.0f} % relative)" if before else text

    def remarks(self) -> list[str]:
        """A line for each run that has one."""
        return [f"{r.label}: {r.remark}" for r in self.results if r.remark]

    def caption(self) -> str:
        """What was evaluated."""
        first = self.results[0]
        speed = ""
        if first.seconds_per_image is not None:
            speed = f", {1000 * first.seconds_per_image:.0f} ms an image"
        return f"{first.dataset}, split {first.split}, {first.frames} frames{speed}"

    def text(self, width: int | None = None) -> str:
        """The table for a terminal.

        Args:
            width: characters a line; None fits the table.
        """
        columns = [c for c in self.columns if c.name in _SCREEN]
        table = Table(title=self.caption(), title_justify="left", caption_justify="left")
        table.caption = "\n".join(filter(None, (self.change(), *self.remarks()))) or None
        for title in ("object", "run"):
            table.add_column(title, no_wrap=width is None)
        for title in ("n", *(c.title for c in columns)):
            table.add_column(title, justify="right")
        rows = self.rows()
        for i, (name, label, row) in enumerate(rows):
            last = i + 1 == len(rows) or rows[i + 1][0] != name
            again = i > 0 and rows[i - 1][0] == name
            cells = [c.show(row) for c in columns]
            table.add_row(
                "" if again else name, label, str(row.targets), *cells, end_section=last,
                style="bold" if name == "mean" else None,
            )  # fmt: skip
        for method, value in self.paper():
            table.add_row("mean", f"paper: {method}", "", f"{value:.1f}", style="italic")
        out = io.StringIO()
        wide = width or max(80, Console(width=1000).measure(table).maximum)
        Console(file=out, width=wide, force_terminal=False).print(table)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

    def csv(self) -> str:
        """All scores in full; shares in [0, 1], medians in degrees and millimetres."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        remarks = {r.label: r.remark for r in self.results} if self.remarks() else {}
        last = ["remark"] if remarks else []
        writer.writerow(
            ["object", "object_id", "run", "targets", *(c.name for c in self.columns), *last]
        )
        for name, label, row in self.rows():
            values = [getattr(row, c.name) for c in self.columns]
            values += [remarks[label]] if remarks else []
            writer.writerow([name, row.object_id, label, row.targets, *values])
        for method, value in self.paper():
            writer.writerow(["mean", "", f"paper: {method}", "", round(value / 100, 6)])
        return out.getvalue()

    def latex(self) -> str:
        """A booktabs table."""
        lines = [r"\begin{tabular}{ll" + "r" * (len(self.columns) + 1) + "}", r"\toprule"]
        head = ["object", "run", "$n$", *(c.latex or c.title for c in self.columns)]
        lines += [" & ".join(head) + r" \\", r"\midrule"]
        previous = None
        for name, label, *cells in self._cells(lambda c, row: c.show(row)):
            if previous is not None and name != previous:
                lines.append(r"\midrule")
            shown = "" if name == previous else _tex(name)
            lines.append(" & ".join([shown, _tex(label), *cells]) + r" \\")
            previous = name
        notes = [r"\par\footnotesize " + _tex(remark) for remark in self.remarks()]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"

    def to_dict(self) -> dict:
        """Plain data for JSON."""
        return {
            "runs": [result.to_dict() for result in self.results],
            "paper": [{"method": m, "recall_10": v / 100} for m, v in self.paper()],
        }

    def json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def _cells(self, show: Callable[[Column, ObjectResult], str]) -> list[list[str]]:
        """Text of all rows, the paper's below."""
        table = [
            [name, label, str(row.targets), *(show(c, row) for c in self.columns)]
            for name, label, row in self.rows()
        ]
        empty = [""] * (len(self.columns) - 1)
        return table + [["mean", f"paper: {m}", "", f"{v:.1f}", *empty] for m, v in self.paper()]


def _tex(text: str) -> str:
    for char in "&%$#_{}":
        text = text.replace(char, "\\" + char)
    return text
