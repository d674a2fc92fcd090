"""What people give from Python: numpy's numbers, generators, one path for a list, wrong values."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL

import self6d
from self6d import cli, jobs
from self6d.arguments import checked
from self6d.datasets import load_models, open_dataset
from self6d.doctor.doctor import examine
from self6d.errors import InputError
from self6d.jobs import EvaluateOptions
from self6d.labelling import label
from self6d.labelling.rerun_file import export_rrd
from self6d.live import live
from self6d.recolouring import recolour
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_network
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 3, 2, 1, size=(96, 128))


def train(models: Any, out: Path, **given: Any) -> RunFolder:
    return jobs.train(models, out, preset="tiny", steps=1, overrides=SMALL, device="cpu", **given)


@pytest.fixture(scope="module")
def trained(sample, tmp_path_factory) -> RunFolder:
    """The files from a generator, which can be read once, and a seed as an array has it."""
    files = (path for path in sorted((sample / "models").glob("*.ply")))
    return train(files, tmp_path_factory.mktemp("runs") / "run", seed=np.int64(4))


def test_models_from_a_generator_and_a_seed_of_numpy(trained, sample):
    """The files were read for run.json and gone then; the run's own record could not be written."""
    files = sorted((sample / "models").glob("*.ply"))
    again = RunFolder.open(trained.path)
    assert (again.status, again.seed) == ("done", 4)
    assert again.info["provenance"]["models"] == [str(path) for path in files]
    assert len(list(again.models_path.glob("*.ply"))) == len(files)


@pytest.mark.parametrize("seed", [-1, 1.7, "a", True, 2**63])
def test_a_seed_that_no_run_could_be_read_back_with(seed, sample, tmp_path):
    """1.7 and 2**63 trained to the end, and the run was "damaged" from then on."""
    with pytest.raises(InputError, match=f"{seed} cannot be a seed|'a' cannot be a seed"):
        train(sample / "models", tmp_path / "run", seed=seed)
    assert not (tmp_path / "run").exists()
    RunFolder.create(tmp_path / "last", "synthetic", {}, seed=2**63 - 1)
    assert RunFolder.open(tmp_path / "last").seed == 2**63 - 1


@pytest.mark.parametrize("models", [None, 5, np.zeros((3, 3)), [None]])
def test_models_that_are_no_paths(models, sample, tmp_path):
    with pytest.raises(InputError, match=r"models: .+ is (no|not a) path"):
        train(models, tmp_path / "run")
    if models is not None:  # there: the run's own
        with pytest.raises(InputError, match=r"models: .+ is (no|not a) path"):
            jobs.evaluate(sample, models, [tmp_path / "run"])


@pytest.mark.parametrize("given", [None, "models"])
def test_a_unit_that_there_is_not_is_refused_whether_or_not_files_are_read_in_it(
    given, trained, sample, tmp_path
):
    """Where a run brings its own models, "a" was not looked at and its figures were written."""
    run, out = trained.path, tmp_path / "out"
    models = None if given is None else sample / given
    for call in (
        partial(jobs.evaluate, sample, models, [run]),
        partial(EvaluateOptions),
        partial(load_network, run, models=models),
        partial(recolour, sample, run, models, out),
        partial(label, sample, run, models, out),
        partial(export_rrd, sample, None, models, out),
        partial(examine, sample, models),
        partial(load_models, sample / "models"),
    ):
        with pytest.raises(InputError, match=r"^unit 'a' is unknown\. Use one of auto, m, cm"):
            call(unit="a")
    with pytest.raises(InputError, match=r"models\.unit"):
        jobs.optimize(sample, models, 0, 1, from_run=run, overrides={"models.unit": "a"})
    assert not out.exists()


def test_files_from_a_generator_are_there_for_every_reader(sample):
    """Five jobs made a list of it, each in a line of its own, and `quick` did not."""

    @checked
    def job(models: Paths, runs: Iterable[str] = ()) -> tuple[list, list, list]:
        return list(models), list(models), list(runs)

    names = ["a.ply", "b.ply"]
    assert job(name for name in names) == (names, names, [])
    assert job("a", runs=iter(names)) == (["a"], ["a"], names)
    with pytest.raises(InputError, match=r"runs: 5 is not text"):
        job("a", runs=iter([5]))


def test_one_run_is_evaluated_however_it_is_named(trained, sample):
    """The letters of a path were taken for runs: "/: not a run folder"."""
    path = trained.path
    for runs in (str(path), path, (one for one in [path])):
        report = jobs.evaluate(sample, None, runs, device="cpu")
        assert [result.label for result in report.results] == ["run"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"views": 0}, "network.views: 0 is out of range"),
        ({"instances": 0}, "network.instances: 0 is out of range"),
    ],
)
def test_numbers_of_predict_out_of_range(given, told, trained, sample):
    """The checkpoint was said to be at fault."""
    with pytest.raises(InputError, match=told):
        jobs.predict(sample, trained.path, device="cpu", **given)


def test_pictures_go_into_a_folder_named_by_text(trained, sample, tmp_path):
    folder = tmp_path / "pictures"
    jobs.predict(sample, trained.path, score_threshold=0, device="cpu", overlay=str(folder))
    assert len(list(folder.glob("*.png"))) == len(open_dataset(sample))


ANY = {
    "train": ("models", "out"), "adapt": ("data", None, "run", "out"),
    "optimize": ("data", None, 0, 1), "track": ("data", None, "out"), "predict": ("data", "run"),
    "evaluate": ("data", None, ["run"]), "export": ("run", "out"), "quick": ("data", None, "out"),
    "train_refiner": (None, "out"),
}  # fmt: skip
WRONG = {
    "listener": ([print], "a function"), "control": (5, "a Control"), "split": (5, "text"),
    "preset": (["tiny"], "a path"), "camera": (5, "a Camera or a path"),
    "share": ("half", "a number"), "init": ([0, 0, 1], "a path or a Pose"),
    "device": (5, "text or a device"), "poses": (5, "a path"), "refiner": (5, "a path"),
    "overlay": (True, "a path"),
    "score_threshold": ("high", "a number"), "min_visible": (float("nan"), "a number"),
}  # fmt: skip
PLACES = {"data": None, "out": 5, "to": None, "from_run": ["run"], "run": 5, "images": 5}


@pytest.mark.parametrize("job", ANY)
def test_wrong_kinds_are_named_in_one_line(job):
    """Some ended in a TypeError or an AttributeError from deep inside, some after hours."""
    call = self6d.quick if job == "quick" else getattr(jobs, job)
    takes = list(inspect.signature(call).parameters)
    if job == "evaluate":
        takes += EvaluateOptions.__dataclass_fields__
    for name, (value, kind) in WRONG.items():
        if name not in takes:
            continue
        with pytest.raises(InputError, match=rf"^{name}: .* is not {kind}"):
            call(*ANY[job], **{name: value})
    for name in PLACES.keys() & takes[: len(ANY[job])]:
        given = list(ANY[job])
        given[takes.index(name)] = PLACES[name]
        with pytest.raises(InputError, match=rf"^{name}: .* is not a path"):
            call(*given)


@pytest.mark.parametrize(
    ("job", "given", "told"),
    [
        ("train", {"overrides": 5}, "overrides: 5 is not a dict or a list"),
        ("train", {"overrides": [5]}, "overrides: 5 is not text"),
        ("track", {"cuts": 5}, "cuts: 5 is not a list"),
        ("evaluate", {"refine": 5}, "refine: 5 is not a list"),
        ("evaluate", {"results": [5]}, "results: 5 is not a path"),
    ],
)
def test_lists_and_what_is_in_them(job, given, told):
    with pytest.raises(InputError, match=f"^{told}"):
        getattr(jobs, job)(*ANY[job], **given)
    with pytest.raises(InputError, match=r"^runs: 5 is not a path"):
        jobs.evaluate("data", None, [5])


def test_a_call_that_python_refuses_stays_its_own():
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        jobs.train("models", "out", step=1)


def test_tables_go_into_files_named_by_text(trained, sample, tmp_path):
    report = jobs.evaluate(sample, None, trained.path, device="cpu", csv_path=f"{tmp_path}/t.csv")
    assert (tmp_path / "t.csv").read_text() == report.csv()


@pytest.mark.parametrize("value", [-0.1, 7, float("inf")])
def test_shares_out_of_range(value, tmp_path):
    """`predict(score_threshold=7)` found nothing, and said nothing."""
    for call, name in (
        (partial(jobs.predict, "data", "run"), "score_threshold"),
        (partial(jobs.evaluate, "data", None, ["run"]), "min_visible"),
        (partial(label, "data", "track", None, tmp_path / "out"), "confidence"),
        (partial(recolour, "data", "track", None, tmp_path / "out"), "confidence"),
        (partial(live, "run", "film.mp4"), "score"),
    ):
        with pytest.raises(InputError, match=f"^{name}: {value:g} is out of range"):
            call(**{name: value})


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_json_on_standard_output_is_all_that_is_there(name, trained, sample, capsys, monkeypatch):
    """`--json -` made a file called "-", and the table stood where JSON was expected."""
    for words in (
        ["evaluate", str(sample), str(trained.path), "--device", "cpu"],
        ["predict", str(sample), "--from", str(trained.path), "--device", "cpu"],
        ["doctor", str(sample)],
    ):
        monkeypatch.chdir(sample)
        assert cli.run([*words, "--json", name, "--quiet"]) == 0
        said = capsys.readouterr()
        assert isinstance(json.loads(said.out), dict | list)
        assert said.err.strip()  # the words for people
        assert not Path("-").exists()
        cli.run(words)
        assert not capsys.readouterr().out.startswith(("{", "["))  # and only that once


@pytest.mark.skipif(os.name != "posix", reason="devices are files on POSIX alone")
def test_a_page_is_not_written_to_a_device_and_that_is_said_at_once():
    EvaluateOptions(json_path=Path(os.devnull)).check_files()
    with pytest.raises(InputError, match="exists already"):
        EvaluateOptions(html_path=Path(os.devnull)).check_files()
