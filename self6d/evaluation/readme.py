"""Results tables of the README, from resources/results (`python -m self6d.evaluation.readme`).

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; NAME.json holds its title, the
command or way that made the figures, and rows of {column: value}. Rows of a report come from
`python -m self6d.evaluation.readme NAME REPORT.json LABEL...`, which keeps title and way.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
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
BLOCK = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(name: str) -> str:
    """One results file as Markdown: title, table, command."""
    found = read_json(resource(f"results/{name}.json"))
    rows = found["rows"]
    lines = [f"{found['title']}.", "", _line(rows[0]), "|---" * len(rows[0]) + "|"]
    lines += [_line("" if value is None else value for value in row.values()) for row in rows]
    return "\n".join([*lines, "", found["made"], ""])


def with_tables(text: str) -> str:
    """A README's text with every results table written anew."""
    return BLOCK.sub(lambda match: match[1] + table(match[2]) + match[3], text)


def rows_of(report: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of what `evaluate --json` wrote: each object and the mean, run by run.

    Args:
        report: the parsed file. labels: what to call its runs, in order.
    """
    runs = list(zip(labels, report["runs"], strict=True))
    count = len(runs[0][1]["objects"])
    rows = []
    for i in range(count + (count > 1)):
        for label, run in runs:
            found = run["objects"][i] if i < count else run["mean"]
            rows.append(
                {"object": found["name"], "network": label}
                | {name: f"{100 * found[key]:.1f}" for name, key in PERCENT.items()}
                | {name: f"{found[key]:.1f}" for name, key in PLAIN.items()}
            )
    return rows


def _line(cells) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        name, report, *labels = sys.argv[1:]
        file = resource(f"results/{name}.json")
        kept = read_json(file) | {"rows": rows_of(read_json(Path(report)), labels)}
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    readme = Path("README.md")
    readme.write_text(with_tables(readme.read_text()))
