"""Repeating commands with several seeds: what comes out is their mean, deviation and range."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from self6d import cli
from self6d.errors import InputError
from self6d.experiments import repeat
from self6d.experiments.repeat import spread, text


def table(*recalls: float) -> dict:
    """Of runs "a" and "b" of one object."""
    score = [{"recall_10": r, "translation_mm": None} for r in recalls]
    return {
        "runs": [
            {"label": label, "objects": [{"name": "mug"} | s], "mean": s}
            for label, s in zip("ab", score)
        ]
    }


def test_mean_deviation_and_range() -> None:
    rows = spread([table(0.3, 0.5), table(0.4, 0.5), table(0.8, 0.5)])
    assert [(row["object"], row["run"]) for row in rows] == [
        ("mug", "a"), ("mug", "b"), ("mean", "a"), ("mean", "b")
    ]  # fmt: skip
    score = rows[0]["recall_10"]
    assert score["mean"] == pytest.approx(0.5)
    assert score["deviation"] == pytest.approx((0.14 / 2) ** 0.5)
    assert (score["low"], score["high"], score["values"]) == (0.3, 0.8, [0.3, 0.4, 0.8])
    assert rows[1]["recall_10"]["deviation"] == 0
    assert "translation_mm" not in rows[0]
    assert "| mug | a | 50.0 ± 26.5 (30.0 to 80.0) |" in text(rows, 3)


def test_objects_of_one_name_keep_a_row_each() -> None:
    score = {"recall_10": 0.2}
    cups = [{"name": "cup", "object_id": i, "recall_10": i / 10} for i in (1, 2)]
    rows = spread([{"runs": [{"label": "a", "objects": cups, "mean": score}]}])
    assert [(row["object"], row.get("recall_10", {}).get("mean")) for row in rows] == [
        ("cup (1)", 0.1), ("cup (2)", 0.2), ("mean", 0.2)
    ]  # fmt: skip


def test_tables_must_have_the_same_rows() -> None:
    other = table(0.1, 0.2)
    other["runs"][0]["label"] = "c"
    with pytest.raises(InputError, match="different rows"):
        spread([table(0.1, 0.2), other])
    with pytest.raises(InputError, match="no table of evaluate"):
        spread([{"rows": []}])


def test_commands_run_once_a_seed_and_go_on(tmp_path: Path, capfd) -> None:
    """Real commands: a sample a seed, then nothing; the tables are put where they would be."""
    out = tmp_path / "all"
    words = ["sample", "--out", "{out}/data", "--seed", "{seed}"]
    words += ["--frames", "1", "--eval-frames", "1"]
    assert cli.run(["experiment", "repeat", "2", str(out), *words]) == 2
    assert "left no table" in capfd.readouterr().err
    assert (out / "seed-0" / "data" / "camera.json").is_file()
    assert not (out / "seed-1").exists()
    for seed in (0, 1):
        (out / f"seed-{seed}").mkdir(exist_ok=True)
        (out / f"seed-{seed}" / "table.json").write_text(json.dumps(table(0.2 + seed / 10, 0.4)))
    assert cli.run(["experiment", "repeat", "2", str(out), *words]) == 0
    assert "| mean | a | 25.0 ± 7.1 (20.0 to 30.0) |" in capfd.readouterr().out
    record = json.loads((out / "spread.json").read_text())
    assert (record["seeds"], record["commands"]) == (2, words)
    assert cli.run(["experiment", "repeat", "2", str(out), *words, "then", "doctor", "x"]) == 2
    assert "other commands" in capfd.readouterr().err


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \{out\}"):
        repeat.repeat(2, ["demo", "--seed", "{seed}"], tmp_path / "a")
    with pytest.raises(repeat.CommandError, match="evaluate ended with exit code 2"):
        repeat.repeat(
            1, ["evaluate", "{out}", "{seed}", "--json", "{out}/table.json"], tmp_path / "b"
        )
