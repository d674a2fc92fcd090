"""Scores of trained networks on the labelled frames of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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


def evaluate(
    data: str | Path,
    models: Paths | None,
    runs: Sequence[str | Path],
    *,
    split: str | None = None,
    refine: Sequence[Refine] = (),
    refiner: str | Path | None = None,
    latest: bool = False,
    device: str | torch.device = "auto",
    bop: bool = False,
    min_visible: float = 0.1,
    views: int | None = None,
    unit: str = "auto",
    json_path: Path | None = None,
    csv_path: Path | None = None,
    latex_path: Path | None = None,
    html_path: Path | None = None,
    bop_path: Path | None = None,
    listener: Listener | None = None,
) -> Report:
    """Score runs on the labelled frames of a recording; predictions see RGB and K alone.

    Args:
        models: CAD files; None: each run's own copy.
        runs: run folders.
        split: named split; None: "eval" if the recording has it, else every labelled frame.
        refine: a row more for each run and kind: "depth", poses optimised on the frames' depth as
            well; "rgb", poses moved by a trained refiner. refiner: its run folder or file.
        latest: take each run's newest checkpoint instead of its best.
        bop: also VSD, MSSD, MSPD and average recalls.
        min_visible: instances less visible than this share are no targets.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: each run's own.
        unit: of the CAD files in `models`, see `load_models`.
        json_path, csv_path, latex_path, html_path: also write the table there; all but the page
            anew after each run.
        bop_path: folder for BOP results files, one a run.

    Raises:
        InputError: no labels, unknown split, unreadable data.
        CheckpointError: a run without an intact checkpoint.

    >>> report = evaluate(recording, None, [out / "stage1", out / "adapted"])
    >>> [result.label for result in report.results]
    ['stage1', 'adapted']
    """
    for file in (html_path, bop_path):
        if file is not None and file.exists():
            raise InputError("exists already", path=file, remedy="Name a new file.")
    device = resolve_device(device)
    dataset = open_dataset(data)
    chosen = default_split(dataset, split, "eval")
    results: list[Results] = []
    report = Report(())
    for path in runs:
        newest = RunFolder.open(path).latest_checkpoint() if latest else None
        trained = load_network(
            path, device=device, checkpoint=newest, models=models, unit=unit, views=views
        )
        for kind in ("none", *refine):
            improve, left_out = pose_refiner(
                kind, trained, path, device, refiner=refiner, listener=listener
            )
            remark = RunFolder.open(path).remark or left_out
            predictor = NetworkPredictor(trained.network, device, refine=improve)
            result = score_predictions(
                dataset,
                trained.models,
                predictor,
                chosen,
                label=Path(path).name + ("" if kind == "none" else f" + {kind}"),
                min_visible=min_visible,
                bop=bop,
                listener=listener,
            )
            results.append(replace(result, remark=remark))
            report = Report(tuple(results))  # what is there stays if the rest is interrupted
            _write_tables(report, json_path, csv_path, latex_path)
    if html_path is not None:
        shown = dataset if chosen is None else dataset.split(chosen)
        curves = {Path(path).name: RunFolder.open(path).curves() for path in runs}
        write_html(html_path, report, dataset=shown, models=trained.models, curves=curves)
    if bop_path is not None:
        for result in results:
            name = f"{result.label}_{result.dataset}-{result.split}.csv"
            write_bop_results(bop_path / name, result.predictions)
    return report


def _write_tables(
    report: Report, json_path: Path | None, csv_path: Path | None, latex_path: Path | None
) -> None:
    """The table in each form that has a path."""
    forms = ((json_path, report.json), (csv_path, report.csv), (latex_path, report.latex))
    for file, text in forms:
        if file is not None:
            write_file(file, text())
