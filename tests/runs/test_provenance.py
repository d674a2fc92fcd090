"""A run's command on disk: what was asked, whoever wrote it, and what a resume asked for anew."""

import json

import pytest

from self6d.config import assignment, overrides
from self6d.runs.provenance import Provenance, dotted

WHOLE = Provenance(
    preset="tiny", models=("/cad/mug.ply",), data="/d", from_run="/r", split="adapt", share=0.4,
    cuts=(3, 8), steps=3, minutes=2.5, device="cpu", frames=6, from_step=4,
    overrides={"loss.mask": 0.5, "network.backbone": "resnet10-w8"},
    K=[[1.0, 0.0, 2.0]], image_size=[96, 128],
)  # fmt: skip


def test_what_is_written_is_read_again():
    stored = json.loads(json.dumps(WHOLE.to_dict()))
    assert Provenance.from_dict(stored) == WHOLE
    assert Provenance().to_dict() == {}


def test_older_runs_are_read():
    stage_2 = {"preset": "self6d", "data": "/d", "split": "all", "share": 1.0, "frames": 6,
               "from_run": "/r", "from_step": 4}  # fmt: skip
    told = Provenance.from_dict(stage_2)
    assert (told.preset, told.split, told.frames, told.overrides) == ("self6d", None, 6, {})
    stage_1 = {"preset": "tiny", "camera": None, "ranges": None, "models": "/cad"}
    assert Provenance.from_dict(stage_1) == Provenance(preset="tiny", models=("/cad",))


@pytest.mark.parametrize(
    ("name", "value"),
    [("preset", 3), ("steps", "x"), ("steps", True), ("minutes", "1"), ("minutes", -1),
     ("share", 7), ("overrides", [1]), ("models", 5), ("models", [1]), ("device", None),
     ("cuts", 3), ("cuts", [1.5])],
)  # fmt: skip
def test_what_is_damaged_is_left_open(name, value):
    assert Provenance.from_dict({"split": "eval", name: value}) == Provenance(split="eval")


def test_a_resume_changes_what_it_asks_for_and_nothing_else():
    open_ = {"preset": "standard", "models": ("/else",), "steps": None, "device": "auto"}
    assert WHOLE.resumed("selfsup", {**open_, "overrides": {}}) == WHOLE
    longer = WHOLE.resumed("selfsup", {**open_, "overrides": {"loss.mask": 1}, "steps": 9})
    assert (longer.steps, longer.overrides["loss.mask"], longer.share) == (9, 1, 0.4)
    named = longer.resumed("selfsup", {**open_, "overrides": {"adapt.steps": 12}})
    assert (named.steps, named.overrides["adapt.steps"]) == (None, 12)
    again = named.resumed("selfsup", {**open_, "overrides": {}, "steps": 20})
    assert (again.steps, "adapt.steps" in again.overrides) == (20, False)
    timed = WHOLE.resumed("selfsup", {**open_, "overrides": {"adapt.minutes": 4.0}})
    assert (timed.steps, timed.minutes, timed.overrides["adapt.minutes"]) == (3, None, 4.0)
    other = WHOLE.resumed("selfsup", {**open_, "overrides": {"optimize.steps": 5}})
    assert (other.steps, other.overrides["optimize.steps"]) == (3, 5)
    stored = {**WHOLE.to_dict(), "steps": 3, "told elsewhere": 1}
    assert named.into(stored)["told elsewhere"] == 1
    assert "steps" not in named.into(stored)
    harmed = {"K": "x", "seed": 1, "share": "half"}  # found out by those who need them
    assert (
        Provenance.from_dict(harmed).resumed("selfsup", open_ | {"overrides": {}}).into(harmed)
        == harmed
    )


@pytest.mark.parametrize(
    "value",
    [0, -3, 1e-05, 1.0, float("inf"), True, False, "resnet10-w8", "/data/a b", "1", "true", "1e5",
     "none", "", " padded ", "[a]", 'say "x"', "two\nlines", "C:\\new", [1, 2.5], ["a", "1"], []],
)  # fmt: skip
def test_set_gives_back_the_very_value(value):
    text = assignment("loss.x", value)
    found = overrides([text])["loss"]["x"]
    assert (found, type(found)) == (value, type(value))
    assert "\n" not in text


def test_nested_changes_become_dotted():
    assert dotted({"loss": {"mask": 0, "geometric": 1}, "x": 2}) == {
        "loss.mask": 0, "loss.geometric": 1, "x": 2,
    }  # fmt: skip
