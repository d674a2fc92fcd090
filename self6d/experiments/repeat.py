"""The same commands with several seeds: mean, deviation and range of every score."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from self6d.errors import INTERRUPTED, InputError, Self6DError
from self6d.evaluation.report import COLUMNS
from self6d.events import Listener, Progress
from self6d.experiments.common import interrupted
from self6d.files import check_free, read_json
from self6d.runs.control import Control
from self6d.storage import atomic_write

THEN = "then"  # between commands
TABLE = "table.json"  # what the commands of a seed leave in its folder
SHOWN = ("recall_10", "recall_5", "recall_2", "rotation_deg", "translation_mm", "detection_recall")


class CommandError(Self6DError):
    """A command of a repetition failed; what it said stands above."""

    exit_code = 1


def repeat(
    count: int,
    words: Sequence[str],
    out: str | Path,
    *,
    first_seed: int = 0,
    listener: Listener | None = None,
    control: Control | None = None,
) -> str:
    """Run commands with one seed after another and gather their tables.

    Args:
        count: how many seeds, from `first_seed` on.
        words: of one self6d-studio command or several with "then" between them; "{seed}" and
            "{out}" stand for the seed and its own folder. They must leave a table of `evaluate
            --json` or of the demo at "{out}/table.json".
        out: folder of results; seeds whose table is there are not run again.

    Returns:
        the table of means, deviations and ranges as text; also in OUT/spread.json.

    Raises:
        InputError: no "{seed}" or "{out}" among the words, or a table that is none.
        CommandError: a command failed. Interrupted: stopped; the same command goes on from there.
    """
    out = Path(out)
    for needed in ("{seed}", "{out}"):
        if not any(needed in word for word in words):
            raise InputError(
                f"the command has no {needed}",
                remedy="Write it such as: demo --seed {seed} --out {out}",
            )
    _same_commands(out, list(words))
    tables = []
    for number, seed in enumerate(range(first_seed, first_seed + count)):
        folder = out / f"seed-{seed}"
        for command in _commands(words):
            if (folder / TABLE).is_file():
                break
            if control is not None and control.stopping:
                raise interrupted(out)
            _run([w.replace("{seed}", str(seed)).replace("{out}", str(folder)) for w in command])
        if not (folder / TABLE).is_file():
            raise InputError(
                "the commands left no table",
                path=folder / TABLE,
                remedy="End with: evaluate ... --json {out}/table.json",
            )
        tables.append(read_json(folder / TABLE, "table", dict))
        if listener is not None:
            listener(Progress(number + 1, count, None, "seeds"))
    rows = spread(tables)
    record = {"commands": list(words), "first_seed": first_seed, "seeds": count, "rows": rows}
    atomic_write(out / "spread.json", (json.dumps(record, indent=1) + "\n").encode())
    return text(rows, count)


def spread(tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over tables of `Report.json`, one a seed.

    Returns:
        a row for each object and run, and for each run's mean: {"object", "run", score: {"mean",
        "deviation" (of the sample), "low", "high", "values"}}. A score missing or not finite in any
        table is left out.

    Raises:
        InputError: tables with other rows than the first.
    """
    per_seed = [_rows(table) for table in tables]
    names = list(per_seed[0])
    if any(list(rows) != names for rows in per_seed):
        raise InputError(
            "tables of different seeds have different rows",
            remedy="Repeat one and the same command.",
        )
    found = []
    for name in names:
        row: dict[str, Any] = {"object": name[0], "run": name[1]}
        for column in COLUMNS:
            stated = [rows[name].get(column.name) for rows in per_seed]
            values = [v for v in stated if isinstance(v, int | float) and math.isfinite(v)]
            if len(values) == len(stated):
                row[column.name] = {
                    "mean": statistics.fmean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
                    "low": min(values),
                    "high": max(values),
                    "values": values,
                }
        found.append(row)
    return found


def text(rows: Sequence[dict[str, Any]], seeds: int) -> str:
    """The rows as a Markdown table: mean ± deviation (lowest to highest)."""
    shown = [c for c in COLUMNS if c.name in SHOWN and any(c.name in row for row in rows)]
    lines = [f"{seeds} seeds: mean ± deviation (range)", ""]
    head = ["object", "run", *(column.title for column in shown)]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["object"], row["run"]]
        for column in shown:
            cells.append(_cell(row.get(column.name), column.factor, column.digits))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(score: dict[str, float] | None, factor: float, digits: int) -> str:
    if score is None:
        return "-"
    mean, off, low, high = (
        f"{factor * score[key]:.{digits}f}" for key in ("mean", "deviation", "low", "high")
    )
    return f"{mean} ± {off} ({low} to {high})"


def _rows(table: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    try:
        objects = {
            (_told(scores, run["objects"]), run["label"]): scores
            for run in table["runs"]
            for scores in run["objects"]
        }
        return objects | {("mean", run["label"]): run["mean"] for run in table["runs"]}
    except (KeyError, TypeError) as error:
        raise InputError(
            "is no table of evaluate", remedy="Write it with evaluate --json."
        ) from error


def _commands(words: Sequence[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _run(words: list[str]) -> None:
    """A command in a process of its own, as a user would start it."""
    code = subprocess.run([sys.executable, "-m", "self6d.cli", *words]).returncode
    if code == INTERRUPTED:
        raise interrupted()
    if code:
        raise CommandError(
            f"{words[0]} ended with exit code {code}", remedy="What it said stands above."
        )


def _same_commands(out: Path, words: list[str]) -> None:
    file = out / "repeat.json"
    if file.is_file():
        if read_json(file, "repeat.json", list) != words:
            raise InputError(
                "holds repetitions of other commands", path=out, remedy="Name another folder."
            )
        return
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps(words).encode())


def _told(scores: dict[str, Any], objects: Sequence[dict[str, Any]]) -> str:
    """An object's name, with its number where another has the same."""
    name: str = scores["name"]
    alone = sum(other["name"] == name for other in objects) == 1
    return name if alone else f"{name} ({scores['object_id']})"
