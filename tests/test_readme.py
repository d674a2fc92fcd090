"""What the README shows is what the results files hold."""

from pathlib import Path

from self6d.evaluation.readme import BLOCK, table, with_tables

README = Path(__file__).parents[1] / "README.md"


def test_tables_are_up_to_date():
    text = README.read_text()
    assert len(BLOCK.findall(text)) >= 3
    assert with_tables(text) == text


def test_table_writes_missing_values_as_blanks():
    lines = table("metrics").splitlines()
    assert lines[2] == "| metric | pairs | largest difference | our time / theirs |"
    assert lines[9] == "| VSD, same depth images | 604 | 6e-4 |  |"
