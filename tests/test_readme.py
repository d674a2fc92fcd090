"""What README and docs show is what the results files hold."""

from pathlib import Path

from self6d.evaluation.readme import (
    BLOCK,
    PAGES,
    PERCENT,
    PLAIN,
    table,
    wide_rows_of,
    with_tables,
)
from self6d.files import read_json
from self6d.paths import resource

ROOT = Path(__file__).parents[1]


def test_tables_are_up_to_date():
    shown = set()
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert with_tables(text) == text
        shown |= {name for _, name, _ in BLOCK.findall(text)}
    assert shown == {path.stem for path in resource("results").glob("*.json")}


def test_table_writes_missing_values_as_blanks():
    lines = table("metrics").splitlines()
    assert lines[2] == "| metric | pairs | largest difference | our time / theirs |"
    assert lines[9] == "| VSD, same depth images | 604 | 6e-4 |  |"


def test_a_table_is_what_it_shows_its_commands_its_rows_and_its_notes():
    found = read_json(resource("results/lmo.json"))
    title, commands, rows, notes = table("lmo").split("\n\n")
    assert title == found["title"] + "."
    fence, *lines, end = commands.replace(" \\\n   --", " --").split("\n")
    assert (fence, lines, end) == ("```", found["made"], "```")
    assert max(map(len, commands.split("\n"))) <= 100
    assert len(rows.split("\n")) == 2 + len(found["rows"])
    assert notes.rstrip().split("\n") == [f"- {note}" for note in found["notes"]]


def test_details_are_folded_away_behind_the_notes():
    found = read_json(resource("results/demo.json"))
    shown, folded = table("demo").split("<details>")
    for note in found["notes"]:
        assert f"- {note}\n" in shown
    assert [line[2:] for line in folded.split("\n") if line[:2] == "- "] == found["details"]
    assert folded.endswith("\n</details>\n")


def test_notes_are_short():
    for path in sorted(resource("results").glob("*.json")):
        found = read_json(path)
        for text in (found["title"], *found["notes"], *found.get("details", ())):
            assert len(text) <= 600, (path.name, text)
            assert text == found["title"] or text.startswith("**") or len(text) < 150, text


def test_wide_rows_hold_each_object_beside_the_mean():
    def scores(name, share):
        keys = [*PERCENT.values(), *PLAIN.values()]
        return {"name": name} | dict.fromkeys(keys, 0.5) | {"recall_10": share}

    run = {"objects": [scores("can", 0.25), scores("cat", 0.75)], "mean": scores("mean", 0.5)}
    (row,) = wide_rows_of({"runs": [run]}, ["stage 1"])
    assert list(row)[:4] == ["ADD(-S) 10 %", "can", "cat", "mean"]
    assert list(row.values())[:5] == ["stage 1", "25.0", "75.0", "50.0", "50.0"]
    assert row["rotation °"] == "0.5"
