"""Configurations: TOML both ways, documentation, limits, presets, overrides, one-line errors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self6d import config
from self6d.config import Limits
from self6d.config_fields import Checked
from self6d.errors import InputError
from self6d.paths import resource
from self6d.run_config import RunConfig


@dataclass
class Inner:
    rate: Annotated[float, Limits(0, 1)] = 0.5
    """How fast."""
    size: tuple[int, int] = (4, 3)
    """Height and width,
    pixels."""
    kind: Literal["a", "b"] = "a"
    names: list[str] = field(default_factory=list)


@dataclass
class Outer:
    count: int = field(default=3, metadata={"min": 1, "max": 9})
    """How many."""
    file: Path | None = None
    limit: float | None = 2.0
    on: bool = True
    inner: Inner = field(default_factory=Inner)


def test_toml_round_trip_with_documentation():
    value = Outer(5, Path("a/b"), None, False, Inner(0.25, (7, 8), "b", ["x y", "ü"]))
    text = config.to_toml(value)
    assert "# How many.\ncount = 5" in text
    assert "# Height and width,\n# pixels.\nsize = " in text
    assert config.from_toml(Outer, text) == value


@settings(max_examples=30)
@given(
    st.builds(
        Outer,
        count=st.integers(1, 9),
        file=st.none() | st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1)
        .filter(lambda s: s not in (".", "none")).map(Path),
        limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        on=st.booleans(),
        inner=st.builds(
            Inner,
            rate=st.floats(0, 1),
            size=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
            kind=st.sampled_from(["a", "b"]),
            names=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=3),
        ),
    )
)  # fmt: skip
def test_any_value_comes_back(value):
    assert config.from_toml(Outer, config.to_toml(value)) == value
    assert config.from_dict(Outer, config.to_dict(value)) == value


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_one_line(text):
    try:
        config.from_toml(Outer, text, path=Path("my.toml"))
        line = "my.toml: "
    except InputError as error:
        line = error.one_line()
    assert "\n" not in line
    assert line.startswith("my.toml: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coutn = 3", "coutn: there is no such key. Did you mean count?"),
        ("inner.raet = 0.1", "inner.raet: there is no such key. Did you mean inner.rate?"),
        ("zzz = 1", "zzz: there is no such key. Known: count, file"),
        ("count = 3.5", "count: 3.5 is not a whole number"),
        ("count = true", "count: True is not a whole number"),
        ('count = "3"', "count: '3' is not a whole number"),
        ("count = 10", "count: 10 is out of range. Allowed: 1 to 9."),
        ("inner.rate = -1", "inner.rate: -1 is out of range. Allowed: 0 to 1."),
        ("inner.rate = nan", "inner.rate: nan is not a number"),
        ("inner.rate = inf", "inner.rate: inf is not a number"),
        ("inner.size = [1]", "inner.size: [1] is not a list of 2 values"),
        ("inner.size = [1, 2.5]", "inner.size: [1, 2.5] is not a list of 2 values"),
        ('inner.kind = "c"', "inner.kind: 'c' is not allowed. Use a, b."),
        ("inner = 3", "inner: is a section, not a value"),
        ("on = 1", "on: 1 is not true or false"),
        ("on = ", "not valid TOML"),
        ("[[inner]]", "inner: is a section, not a value"),
    ],
)
def test_mistakes_name_the_key_and_the_remedy(text, expected):
    with pytest.raises(InputError) as caught:
        config.from_toml(Outer, text)
    assert expected in caught.value.one_line()


@dataclass
class Speeds(Checked, section="speeds"):
    slow: Annotated[float, Limits(0, 1)] = 0.5
    fast: Annotated[float, Limits(1, 9)] = 2.0
    unit: Literal["m/s", "km/h"] = "m/s"
    limit: float | None = None


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"slow": -1}, "speeds.slow: -1 is out of range. Allowed: 0 to 1."),
        ({"slow": float("nan")}, "speeds.slow: nan is not a number. Correct it."),
        ({"unit": "knots"}, "speeds.unit: 'knots' is not allowed. Use m/s, km/h."),
        ({"fast": "2"}, "speeds.fast: '2' is not a number. Correct it."),
        ({"limit": True}, "speeds.limit: True is not a number. Correct it."),
    ],
)
def test_values_given_in_code_are_checked_too(wrong, expected):
    with pytest.raises(InputError) as made:
        Speeds(**wrong)
    with pytest.raises(InputError) as changed:
        dataclasses.replace(Speeds(slow=1, limit=3), **wrong)
    assert made.value.one_line() == changed.value.one_line() == expected


def test_every_section_of_a_run_is_checked():
    sections = dataclasses.fields(RunConfig)
    for section in sections:
        assert issubclass(section.default_factory, Checked)
        assert section.default_factory._section == section.name


def test_describe_tells_a_form_everything():
    infos = {info.key: info for info in config.describe(Outer(count=4))}
    assert list(infos) == [
        "count", "file", "limit", "on", "inner.rate", "inner.size", "inner.kind", "inner.names"
    ]  # fmt: skip
    count = infos["count"]
    assert (count.kind, count.value, count.default) == (int, 4, 3)
    assert (count.minimum, count.maximum, count.doc) == (1, 9, "How many.")
    assert infos["inner.kind"].choices == ("a", "b")
    assert infos["limit"].optional
    assert (infos["inner.rate"].section, infos["inner.rate"].name) == ("inner", "rate")


def test_overrides_from_the_shell_and_from_code():
    shell = config.overrides(["inner.rate=1", "inner.kind=b", "file=a b", "limit=none", "on=false"])
    code = config.overrides(
        {"inner.rate": 1, "inner.kind": "b", "file": "a b", "limit": None, "on": False}
    )
    expected = Outer(file=Path("a b"), limit=None, on=False, inner=Inner(rate=1.0, kind="b"))
    assert config.from_dict(Outer, shell) == config.from_dict(Outer, code) == expected


@pytest.mark.parametrize("text", ["rate", "=3", "a b=3", "a..b=3", ""])
def test_malformed_override(text):
    with pytest.raises(InputError, match="is not KEY=VALUE"):
        config.overrides([text])


def test_merge_lays_later_layers_on_top():
    low = {"a": {"x": 1, "y": 2}, "b": 1}
    assert config.merge(low, {"a": {"y": 3}}, {"b": 2}) == {"a": {"x": 1, "y": 3}, "b": 2}
    assert low == {"a": {"x": 1, "y": 2}, "b": 1}


def test_preset_can_extend_another(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('extends = "tiny"\n[train]\nsteps = 7\n')
    tiny, mine = config.load_preset("tiny"), config.load_preset(file)
    assert mine["train"] == {**tiny["train"], "steps": 7}
    assert mine["network"] == tiny["network"]


def test_a_preset_says_its_stage(tmp_path):
    first, second = config.preset_names(1), config.preset_names(2)
    assert {"tiny", "standard", "pretrained", "paper"} <= set(first)
    assert {"self6d", "self6d-plus"} <= set(second)
    assert not set(first) & set(second)
    assert "stage" not in config.load_preset("tiny", 1)
    with pytest.raises(InputError, match=r"is for stage 2, not for stage 1\. .*tiny"):
        config.load_preset("self6d", 1)
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "pretrained"')
    with pytest.raises(InputError, match="is for stage 1, not for stage 2"):
        config.load_preset(mine, 2)
    mine.write_text("[train]\nsteps = 7\n")  # says nothing
    assert config.load_preset(mine, 2) == config.load_preset(mine, 1) == {"train": {"steps": 7}}


def test_the_help_names_every_preset_of_stage_1():
    page = resource("help/synthetic.md").read_text(encoding="utf-8")
    assert [name for name in config.preset_names(1) if f"*{name}*" not in page] == []


@pytest.mark.parametrize("name", ["tyni", "../presets/tiny", "", "extends.toml"])
def test_unknown_preset_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extends.toml").write_text('extends = "tyni"')
    with pytest.raises(InputError, match="there is no preset"):
        config.load_preset(name)


@pytest.mark.parametrize("name", config.preset_names())
def test_shipped_presets_fit_the_configuration(name):
    from self6d.run_config import RunConfig, build_config

    built = build_config(name)
    assert config.from_toml(RunConfig, config.to_toml(built)) == built


def test_every_field_is_documented():
    missing = [info.key for info in config.describe(RunConfig()) if not info.doc]
    assert missing == []


def test_every_number_has_a_lowest_value():
    """So that nonsense is refused in one line, and forms know where to stop."""
    fields = config.describe(RunConfig())
    numbers = [info for info in fields if info.kind in (int, float) and not info.choices]
    assert [info.key for info in numbers if info.minimum is None] == []
    assert all(info.minimum <= info.value for info in numbers)


@pytest.mark.parametrize(
    "text", ["count = " + "9" * 5000, "limit = " + "9" * 400, "file = " + "[" * 3000, 'on = "x']
)
def test_endless_values_are_a_short_line(text):
    with pytest.raises(InputError) as caught:
        config.from_toml(Outer, text)
    assert len(caught.value.one_line()) < 300


def test_a_section_is_no_value():
    with pytest.raises(InputError, match="inner: is a section, not a value"):
        config.merge({"inner": 3}, {"inner": {"rate": 1}})


def test_shared_defaults_are_not_shared():
    first, second = Outer(), Outer()
    first.inner.names.append("x")
    assert second.inner.names == []
    assert dataclasses.replace(second).inner == Inner()
