"""Scores of trained networks on the labelled frames of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from self6d.datasets import open_dataset
from self6d.datasets.splits import default_split
from self6d.errors import InputError
from self6d.evaluation.bop_results import write_bop_results
from self6d.evaluation.html import write_html
from self6d.evaluation.predictions import (
    NetworkPredictor,
)
from self6d.evaluation.protocols import evaluate as score_predictions
from self6d.evaluation.report import Report
from self6d.evaluation.results import Results
from self6d.events import Listener
from self6d.files import write_file
from self6d.jobs.prepare import resolve_device
from self6d.jobs.refiner import Refine, pose_refiner
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    Paths,
    load_network,
)


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
        views: boxes looked at per detection, see `NetworkConfig.views`; None: each run's own.
        unit: of the CAD files in `models`, see `load_models`.
        json_path, csv_path, latex_path, html_path: also write the table there; all but the page
            anew after each run.
        bop_path: folder for BOP results files, one a run.
    """

    split: str | None = None
    refine: Sequence[Refine] = ()
    refiner: str | Path | None = None
    latest: bool = False
    device: str | torch.device = "auto"
    bop: bool = False
    min_visible: float = 0.1
    views: int | None = None
    unit: str = "auto"
    json_path: Path | None = None
    csv_path: Path | None = None
    latex_path: Path | None = None
    html_path: Path | None = None
    bop_path: Path | None = None

    def check_files(self) -> None:
        """Raise `InputError` where a page or folder would be written over."""
        for file in (self.html_path, self.bop_path):
            if file is not None and file.exists():
                raise InputError("exists already", path=file, remedy="Name a new file.")

    def write_tables(self, report: Report) -> None:
        """The table in each form that has a path."""
        for file, text in (
            (self.json_path, report.json),
            (self.csv_path, report.csv),
            (self.latex_path, report.latex),
        ):
            if file is not None:
                write_file(file, text())


def evaluate(
    data: str | Path,
    models: Paths | None,
    runs: Sequence[str | Path],
    options: EvaluateOptions | None = None,
    *,
    listener: Listener | None = None,
    **given: Any,
) -> Report:
    """Score runs on the labelled frames of a recording; predictions see RGB and K alone.

    Args:
        models: CAD files; None: each run's own copy.
        runs: run folders.
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
    o.check_files()
    device = resolve_device(o.device)
    dataset = open_dataset(data)
    chosen = default_split(dataset, o.split, "eval")
    results: list[Results] = []
    report = Report(())
    for path in runs:
        newest = RunFolder.open(path).latest_checkpoint() if o.latest else None
        trained = load_network(
            path, device=device, checkpoint=newest, models=models, unit=o.unit, views=o.views
        )
        for kind in ("none", *o.refine):
            improve, left_out = pose_refiner(
                kind, trained, path, device, refiner=o.refiner, listener=listener
            )
            remark = RunFolder.open(path).remark or left_out
            predictor = NetworkPredictor(trained.network, device, refine=improve)
            result = score_predictions(
                dataset,
                trained.models,
                predictor,
                chosen,
                label=Path(path).name + ("" if kind == "none" else f" + {kind}"),
                min_visible=o.min_visible,
                bop=o.bop,
                listener=listener,
            )
            results.append(replace(result, remark=remark))
            report = Report(tuple(results))  # what is there stays if the rest is interrupted
            o.write_tables(report)
    if o.html_path is not None:
        shown = dataset if chosen is None else dataset.split(chosen)
        curves = {Path(path).name: RunFolder.open(path).curves() for path in runs}
        write_html(o.html_path, report, dataset=shown, models=trained.models, curves=curves)
    if o.bop_path is not None:
        for result in results:
            name = f"{result.label}_{result.dataset}-{result.split}.csv"
            write_bop_results(o.bop_path / name, result.predictions)
    return report
