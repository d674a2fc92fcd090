"""Results tables of the README, from resources/results (`python -m self6d.evaluation.readme`).

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; NAME.json holds its title, the
command or way that made the figures, and rows of {column: value}.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from self6d.files import read_json
from self6d.paths import resource

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


def _line(cells) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    path.write_text(with_tables(path.read_text()))
