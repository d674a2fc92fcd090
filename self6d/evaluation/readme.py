"""Results tables of README and docs, from resources/results (`python -m self6d.evaluation.readme`).

A table stands between `<!-- results: NAME -->` and `<!-- end -->`. NAME.json holds, in the order of
the page: `title`, what the table shows in a sentence or two; `made`, the command lines that make it
(or `# ...` remarks on them), shown as code; `rows` of {column: value}; `notes`, short points, the
most important first; and, where there are more, `details`, which are folded away. Rows of a
report come from `python -m self6d.evaluation.readme NAME REPORT.json LABEL...`, which keeps the
rest; with `--wide` before NAME the objects stand side by side.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from self6d.files import read_json
from self6d.paths import resource

PERCENT = {
    "ADD(-S) 10 %": "recall_10",
    "5 %": "recall_5",
    "2 %": "recall_2",
    "found": "detection_recall",
    "mask IoU": "mask_iou",
    "of found": "mask_iou_found",
}
PLAIN = {"rotation °": "rotation_deg", "translation mm": "translation_mm"}
PAGES = ("README.md", "docs/results.md", "docs/speed.md")
WIDTH = 92  # of a command line, without " --" and the backslash
BLOCK = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(name: str) -> str:
    """One results file as Markdown: title, commands, table, notes."""
    found = read_json(resource(f"results/{name}.json"))
    rows = found["rows"]
    parts = [f"{found['title']}."]
    if found["made"]:
        parts.append("\n".join(["```", *map(_wrapped, found["made"]), "```"]))
    lines = [_line(rows[0]), "|---" * len(rows[0]) + "|"]
    lines += [_line("" if value is None else value for value in row.values()) for row in rows]
    parts.append("\n".join(lines))
    if found["notes"]:
        parts.append(_points(found["notes"]))
    if details := found.get("details"):
        parts += ["<details><summary>More notes</summary>", _points(details), "</details>"]
    return "\n\n".join(parts) + "\n"


def with_tables(text: str) -> str:
    """A page's text with every results table written anew."""
    return BLOCK.sub(lambda match: match[1] + table(match[2]) + match[3], text)


def rows_of(report: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of what `evaluate --json` wrote: each object and the mean, run by run.

    Args:
        report: the parsed file. labels: what to call its runs, in order.
    """
    runs = [(_remarked(label, r), r) for label, r in zip(labels, report["runs"], strict=True)]
    count = len(runs[0][1]["objects"])
    rows = []
    for i in range(count + (count > 1)):
        for label, run in runs:
            found = run["objects"][i] if i < count else run["mean"]
            rows.append(
                {"object": found["name"], "network": label}
                | _scores(found, PERCENT, 100)
                | _scores(found, PLAIN)
            )
    return rows


def wide_rows_of(report: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """As `rows_of`, one row a run: each object's ADD(-S) recall at 10 %, and the mean's scores."""
    rows = []
    for label, run in zip(labels, report["runs"], strict=True):
        recalls = {o["name"]: f"{100 * o['recall_10']:.1f}" for o in run["objects"]}
        mean = run["mean"]
        rows.append(
            {
                "ADD(-S) 10 %": _remarked(label, run),
                **recalls,
                "mean": f"{100 * mean['recall_10']:.1f}",
            }
            | _scores(mean, dict(list(PERCENT.items())[1:]), 100)
            | _scores(mean, PLAIN)
        )
    return rows


def _remarked(label: str, run: dict[str, Any]) -> str:
    """A run's name and, where it has one, the first words of its remark."""
    remark = str(run.get("remark", "")).partition(":")[0]
    return f"{label} ({remark})" if remark else label


def _scores(of: dict[str, Any], columns: dict[str, str], scale: float = 1) -> dict[str, str]:
    """Cells of some columns; blank where nothing was measured."""
    values = {name: of.get(key) for name, key in columns.items()}
    return {n: "" if v is None else f"{scale * v:.1f}" for n, v in values.items()}


def _points(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _wrapped(command: str) -> str:
    """A command line broken before options, so that no page has to be scrolled sideways."""
    if command.startswith("#"):
        return command
    first, *options = command.split(" --")
    lines = [first]
    for option in options:
        if len(lines[-1]) + len(option) > WIDTH:
            lines.append(f"   --{option}")
        else:
            lines[-1] += f" --{option}"
    return " \\\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) > 1:
        make = wide_rows_of if arguments[0] == "--wide" else rows_of
        name, report, *labels = arguments[make is wide_rows_of :]
        file = resource(f"results/{name}.json")
        kept = read_json(file) | {"rows": make(read_json(Path(report)), labels)}
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for page in map(Path, PAGES):
        page.write_text(with_tables(page.read_text()))
