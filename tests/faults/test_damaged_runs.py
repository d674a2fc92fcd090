"""Run folders that somebody edited, cut or swapped: used, or refused in one line. Never a crash."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from self6d import cli, jobs
from self6d.errors import CheckpointError, Self6DError
from self6d.runs import checkpoint
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network

Harm = Callable[[Path], object]


def one_line(error: Self6DError) -> None:
    assert "\n" not in error.one_line()
    assert len(error.one_line()) < 1000
    assert error.remedy, error.one_line()


def info(**changes: Any) -> Harm:
    """Entries of run.json changed."""

    def harm(run: Path) -> None:
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(content | changes))

    return harm


def provenance(**changes: Any) -> Harm:
    def harm(run: Path) -> None:
        content = json.loads((run / "run.json").read_text())
        content["provenance"] |= changes
        (run / "run.json").write_text(json.dumps(content))

    return harm


def forged(edit: Callable[[dict], object]) -> Harm:
    """Every checkpoint's JSON changed, with a checksum that fits again."""

    def harm(run: Path) -> None:
        for path in checkpoint.checkpoints(run / "checkpoints"):
            file = path.with_suffix(".json")
            record = json.loads(file.read_text())
            edit(record)
            record = json.loads(json.dumps(record))
            record["sha256"] = checkpoint._digest(record, [path.read_bytes()])
            file.write_text(json.dumps(record))

    return harm


def swapped(name: str) -> Harm:
    """A folder where a file should be, a file where a folder should be."""

    def harm(run: Path) -> None:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
            path.write_text("x")
        else:
            path.unlink(missing_ok=True)
            path.mkdir()

    return harm


def noise(pattern: str) -> Harm:
    def harm(run: Path) -> None:
        for path in run.glob(pattern):
            path.write_bytes(os.urandom(999))

    return harm


UNUSABLE: dict[str, Harm] = {
    "run.json is empty": lambda run: (run / "run.json").write_text(""),
    "run.json holds a list": lambda run: (run / "run.json").write_text("[]"),
    "run.json knows its format only": lambda run: (run / "run.json").write_text('{"format": 1}'),
    "kind is a number": info(kind=3),
    "seed is text": info(seed="x"),
    "seed is negative": info(seed=-5),
    "seed is infinite": info(seed=float("inf")),
    "seed is nothing": info(seed=None),
    "provenance is a list": info(provenance=[]),
    "status is a list": info(status=[]),
    "config.toml is cut": lambda run: (run / "config.toml").write_text("[netw"),
    "config.toml is a folder": swapped("config.toml"),
    "config.toml has a number of 5000 digits": lambda run: (run / "config.toml").write_text(
        f"a = {'9' * 5000}"
    ),
    "no models": lambda run: shutil.rmtree(run / "models"),
    "models are noise": noise("models/*"),
    "model files are gone": lambda run: [p.unlink() for p in (run / "models").glob("obj*")],
    "no checkpoints": lambda run: shutil.rmtree(run / "checkpoints"),
    "checkpoints is a file": swapped("checkpoints"),
    "checkpoints are noise": noise("checkpoints/*"),
    "checkpoints are a link to itself": lambda run: (
        shutil.rmtree(run / "checkpoints"),
        (run / "checkpoints").symlink_to(run / "checkpoints"),
    ),
    "state is nothing": forged(lambda c: c.update(meta=None)),
    "state is a list": forged(lambda c: c.update(meta=[])),
    "unknown backbone": forged(lambda c: c["meta"]["network_config"].update(backbone="../../x")),
    "unknown setting": forged(lambda c: c["meta"]["network_config"].update(evil=1)),
    "negative width": forged(lambda c: c["meta"]["network_config"].update(head_channels=-1)),
    "camera without numbers": forged(lambda c: c["meta"].update(camera={"K": [1], "size": [1]})),
    "camera of no size": forged(lambda c: c["meta"]["camera"].update(size=[0, 0])),
    "an unknown object": forged(lambda c: c["meta"].update(object_ids=[99])),
}
for _key in ("network", "object_ids", "network_config"):
    UNUSABLE[f"no {_key}"] = forged(lambda c, key=_key: c["meta"].pop(key))
    for _value in (None, 3, "x", [], {}, [["a"]], {"$tensor": "nope"}, {"$tensor": []},
                   {"$pairs": 3}):  # fmt: skip
        UNUSABLE[f"{_key} is {_value}"] = forged(
            lambda c, key=_key, value=_value: c["meta"].update({key: value})
        )
HARMLESS: dict[str, Harm] = {
    "events are noise": noise("events.jsonl"),
    "previews is a file": swapped("previews"),
    "no camera": forged(lambda c: c["meta"].pop("camera")),
    "the best is elsewhere": lambda run: (run / "checkpoints" / "best.json").write_text(
        '{"file": "../../../etc/passwd", "score": 1}'
    ),
}


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("case", UNUSABLE)
def test_network_of_a_harmed_run(copy, case):
    UNUSABLE[case](copy)
    with pytest.raises(Self6DError) as caught:
        load_network(copy)
    one_line(caught.value)
    assert str(copy) in caught.value.one_line()


@pytest.mark.parametrize("case", HARMLESS)
def test_harm_elsewhere_does_not_matter(copy, case):
    HARMLESS[case](copy)
    assert load_network(copy).step == 2


RESUMED: dict[str, Harm] = {
    "K is text": provenance(K="x"),
    "K is not finite": provenance(K=[[float("nan")] * 3] * 3),
    "size is a number": provenance(image_size=3),
    "config of another network": lambda run: (run / "config.toml").write_text(
        (run / "config.toml").read_text().replace("resnet10-w8", "resnet10-w16")
    ),
    "no optimiser": forged(lambda c: c["meta"].pop("optimizer")),
    "optimiser is text": forged(lambda c: c["meta"].update(optimizer="x")),
    "skipped steps are text": forged(lambda c: c["info"].update(skipped="x")),
    "live values are a list": forged(lambda c: c["info"].update(live=[1])),
    ".lock is a folder": swapped(".lock"),
    "lock.json is a folder": swapped("lock.json"),
}


@pytest.mark.parametrize("case", RESUMED)
def test_resuming_a_harmed_run(copy, sample, case):
    RESUMED[case](copy)
    with pytest.raises(Self6DError) as caught:
        jobs.train(sample / "models", copy, steps=3, resume=True, device="cpu")
    one_line(caught.value)


def test_resuming_with_another_network_is_one_line(copy, sample):
    change = {"network.backbone": "resnet10-w16"}
    with pytest.raises(CheckpointError, match="does not fit"):
        jobs.train(sample / "models", copy, steps=3, overrides=change, resume=True, device="cpu")


@pytest.mark.parametrize("words", [["predict", "SAMPLE", "--from"], ["evaluate", "SAMPLE"],
                                   ["export", "--to", "OUT"], ["ctl", "RUN", "stop"],
                                   ["report-bug", "RUN", "--out", "OUT.zip"]])  # fmt: skip
@pytest.mark.parametrize("path", ["nothing", "x" * 5000, "/dev/null", "", "SAMPLE"])
def test_commands_given_no_run(words, path, sample, tmp_path, capsys):
    known = {"SAMPLE": str(sample), "OUT": str(tmp_path / "out"), "RUN": "",
             "OUT.zip": str(tmp_path / "out.zip")}  # fmt: skip
    target = known.get(path, path)
    given = [known.get(word, word) for word in words if word != "RUN"]
    place = words.index("RUN") if "RUN" in words else len(given)
    code = cli.run([*given[:place], target, *given[place:]])
    error = capsys.readouterr().err
    assert code in (2, 4)
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.zip").exists()


def test_forging_is_what_the_checksum_would_notice(copy):
    """The harms above reach the code behind the checksum."""
    forged(lambda c: c["meta"].update(extra=1))(copy)
    assert RunFolder.open(copy).latest_checkpoint() is not None
