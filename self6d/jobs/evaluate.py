"""Scores of trained networks, or of results files, on the labelled frames of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

from self6d.arguments import check_values, checked
from self6d.config_fields import Limits
from self6d.datasets import Recording, load_models, open_dataset
from self6d.datasets.splits import default_split
from self6d.errors import InputError
from self6d.evaluation.bop_results import (
    doubts,
    read_bop_results,
    results_name,
    seconds_per_image,
    write_bop_results,
)
from self6d.evaluation.cropped import score_crops
from self6d.evaluation.html import write_html
from self6d.evaluation.predictions import NetworkPredictor, Prediction, Predictor
from self6d.evaluation.protocols import evaluate as score_predictions
from self6d.evaluation.report import Report
from self6d.evaluation.results import Results
from self6d.events import Listener, Note
from self6d.files import check_new, check_writable, write_file
from self6d.jobs.prepare import resolve_device
from self6d.jobs.refiner import Refine, pose_refiner
from self6d.memory import keep_freed_memory
from self6d.runs.folder import RunFolder, names_of
from self6d.runs.load_network import Paths, load_given_models, load_network
from self6d.scene import ObjectModel
from self6d.scene.error_models import error_models
from self6d.scene.units import check_unit

BOP_SPLIT = "bop19"  # what test_targets_bop19.json makes


STREAMS = ("json_path", "csv_path", "latex_path")
WRITTEN = (*STREAMS, "html_path", "bop_path")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is scored, how, and which files are written.

    Attributes:
        split: named split; None: "eval" if the recording has it, else every labelled frame.
        refine: a row more for each run and kind: "depth", poses optimised on the frames' depth as
            well; "rgb", poses moved by a trained refiner. refiner: its run folder or file.
        latest: take each run's newest checkpoint instead of its best.
        device: such as "cpu"; "auto" is CUDA if there is one.
        bop: also VSD, MSSD, MSPD and average recalls.
        min_visible: instances less visible than this share are no targets.
        views, instances: see `NetworkConfig`; None: each run's own.
        unit: of the CAD files in `models`, see `load_models`.
        json_path, csv_path, latex_path, html_path: also write the table there, to new files; all
            but the page again after each run.
        bop_path: folder for BOP results files, one a run.
        results: BOP results files to score, after the runs, with their average recalls (so `bop`
            is then on); without `split`, on BOP's targets (bop19) if the recording names them.
    """

    split: str | None = None
    refine: Sequence[Refine] = ()
    refiner: str | Path | None = None
    latest: bool = False
    device: str | torch.device = "auto"
    bop: bool = False
    min_visible: Annotated[float, Limits(0, 1)] = 0.1
    views: int | None = None
    instances: int | None = None
    unit: str = "auto"
    json_path: Path | None = None
    csv_path: Path | None = None
    latex_path: Path | None = None
    html_path: Path | None = None
    bop_path: Path | None = None
    results: Sequence[Path] = ()

    def __post_init__(self) -> None:
        check_values(type(self), vars(self))
        check_unit(self.unit)
        for name in WRITTEN:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))

    def check_files(self) -> None:
        """Raise where something would be written over, or cannot be written."""
        for name in WRITTEN:
            if (file := getattr(self, name)) is not None:
                check_new(file, or_device=name in STREAMS)
                check_writable(file)

    def write_tables(self, report: Report) -> None:
        """The table in each form that has a path."""
        for file, text in (
            (self.json_path, report.json),
            (self.csv_path, report.csv),
            (self.latex_path, report.latex),
        ):
            if file is not None:
                write_file(file, text())


@checked
def evaluate(
    data: str | Path,
    models: Paths | None,
    runs: str | Path | Iterable[str | Path],
    options: EvaluateOptions | None = None,
    *,
    listener: Listener | None = None,
    on_row: Callable[[Report], None] | None = None,
    **given: Any,
) -> Report:
    """Score runs on the labelled frames of a recording; predictions see RGB and K alone.

    Args:
        models: CAD files; None: each run's own copy, the recording's for results files. Where a
            BOP set has models_eval, errors are taken on these; the table says so.
        runs: run folders; may be empty where `results` are given.
        on_row: hears the table so far after each row: what is there if a later one fails.
        options: see `EvaluateOptions`; any of its fields may be given by name instead, such as
            `split="eval"`.

    Raises:
        InputError: no labels, unknown split, unreadable data.
        CheckpointError: a run without an intact checkpoint.
        TypeError: no such option.

    >>> report = evaluate(recording, None, [out / "stage1", out / "adapted"])
    >>> [result.label for result in report.results]
    ['stage1', 'adapted']
    """
    o = replace(options or EvaluateOptions(), **given)
    runs = [runs] if isinstance(runs, str | Path) else list(runs)
    if not runs and not o.results:
        raise InputError("nothing to score", remedy="Name runs, or results files with --results.")
    o.check_files()
    names = names_of(runs)
    job = _Job(open_dataset(data), o, listener, on_row)
    for path, name in zip(runs, names, strict=True):
        job.score_run(path, name, models)
    if o.results:
        job.score_files(models)
    report = Report(tuple(job.results))
    if o.html_path is not None:
        curves = {n: RunFolder.open(path).curves() for n, path in zip(names, runs, strict=True)}
        write_html(o.html_path, report, dataset=job.shown, models=job.models, curves=curves)
    if o.bop_path is not None:
        for result in job.results:
            file = results_name(result.label, job.dataset.bop_name)
            write_bop_results(o.bop_path / file, result.predictions)
    return report


class _Job:
    """One evaluation: rows are added to `results`, and the tables written after each."""

    def __init__(
        self,
        dataset: Recording,
        options: EvaluateOptions,
        listener: Listener | None,
        on_row: Callable[[Report], None] | None,
    ) -> None:
        self.dataset, self.options, self.listener = dataset, options, listener
        self.on_row = on_row or (lambda report: None)
        usual = BOP_SPLIT if options.results and BOP_SPLIT in dataset.split_names() else "eval"
        self.split = default_split(dataset, options.split, usual)
        self.shown = dataset if self.split is None else dataset.split(self.split)
        self.device = resolve_device(options.device)
        keep_freed_memory()
        self.models: list[ObjectModel] = []  # of the row scored last
        self.results: list[Results] = []

    def score_run(self, path: str | Path, name: str, models: Paths | None) -> None:
        """A row for a run, and one for each kind of refinement."""
        o, device = self.options, self.device
        newest = RunFolder.open(path).latest_checkpoint() if o.latest else None
        trained = load_network(
            path, device=device, checkpoint=newest, models=models, unit=o.unit, views=o.views,
            instances=o.instances,
        )  # fmt: skip
        self.models = trained.models
        unlike = trained.unlike_learned(self.shown.frame(0, depth=False).camera.height)
        if unlike and self.listener is not None:
            self.listener(Note("warning", f"{name}: {unlike}"))
        for kind in ("none", *o.refine):
            improve, left_out = pose_refiner(
                kind, trained, path, device, refiner=o.refiner, listener=self.listener
            )
            self._score(
                NetworkPredictor(trained.network, device, refine=improve),
                name + ("" if kind == "none" else f" + {kind}"),
                RunFolder.open(path).remark or left_out,
                trained.step,
            )
            self.write_tables()

    def score_files(self, models: Paths | None) -> None:
        """A row for each results file."""
        o = self.options
        drawn = self._own_models() if models is None else load_given_models(models, o.unit)
        self.models = drawn
        for path in o.results:
            found = read_bop_results(path)
            seconds, remark = seconds_per_image(found)
            self._score(found, Path(path).stem, remark)
            result = self.results[-1]
            unused = doubts(found, result.predictions, {m.object_id for m in drawn})
            remark = "; ".join(filter(None, (*unused, result.remark)))
            self.results[-1] = replace(result, seconds_per_image=seconds, remark=remark)
            self.write_tables()

    def _own_models(self) -> list[ObjectModel]:
        if self.dataset.models_path is None:
            raise InputError(
                "recording came without models, which scoring a results file needs",
                path=self.dataset.root,
                remedy="Name them with --models.",
            )
        return load_models(self.dataset.models_path, self.options.unit)

    def _score(
        self, predictions: Predictor | Sequence[Prediction], label: str, remark: str,
        step: int | None = None,
    ) -> None:  # fmt: skip
        o = self.options
        measured, on = error_models(self.dataset.models_eval_path, self.models)
        result = score_predictions(
            self.dataset,
            self.models,
            predictions,
            self.split,
            label=label,
            min_visible=o.min_visible,
            bop=o.bop or bool(o.results),
            error_models=measured,
            listener=self.listener,
        )
        crops = ""
        if self.shown.kind == "cropped_linemod":
            crops = str(score_crops(self.shown, result.predictions))
        remark = "; ".join(filter(None, (crops, remark, on, result.remark)))
        self.results.append(replace(result, remark=remark, step=step))

    def write_tables(self) -> None:
        """What is there stays if the rest is interrupted."""
        report = Report(tuple(self.results))
        self.on_row(report)
        self.options.write_tables(report)
