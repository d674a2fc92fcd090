"""Evaluations for the window: scored once, then written in every form that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from self6d import jobs
from self6d.datasets import open_dataset
from self6d.datasets.splits import default_split
from self6d.evaluation.bop_results import results_name, write_bop_results
from self6d.evaluation.html import write_html
from self6d.evaluation.predictions import NetworkPredictor
from self6d.evaluation.report import Report
from self6d.events import Event, Progress
from self6d.runs.folder import RunFolder, names_of
from self6d.runs.load_network import load_network
from self6d.storage import atomic_write
from studio.engine.requests.stopping import stop_where_asked
from studio.jobs.run_info import best_step, checkpoint_file, network_key

Told = Callable[[tuple[int, int]], None]
Key = tuple[str, tuple[tuple[str, str, int], ...], str | None]


class Scores:
    """The evaluation made last, by what it was made of."""

    def __init__(self) -> None:
        self._key: Key | None = None
        self._report: Report | None = None

    def evaluate(
        self,
        data: str,
        runs: Sequence[str],
        split: str | None,
        tell: Told,
        stop_file: str | None = None,
    ) -> list[dict[str, Any]]:
        """Scores of runs on a recording, each as `Results.to_dict` gives them.

        Args:
            stop_file: ends the evaluation as soon as it is there.

        Raises:
            Cancelled: it was there.
        """
        done, key = 0, _key(data, runs, split)

        def listen(event: Event) -> None:
            nonlocal done
            stop_where_asked(stop_file)
            if isinstance(event, Progress):
                tell((done + event.step, event.total * len(runs)))
                done += event.total if event.step == event.total else 0

        found = jobs.evaluate(data, None, list(runs), split=split, listener=listen)
        self._report = Report(tuple(found.results))
        self._key = key
        return [result.to_dict() for result in found.results]

    def write(
        self, kind: str, path: Path, data: str, runs: Sequence[str], split: str | None, tell: Told
    ) -> None:
        """Write "csv", "latex", "html" or "bop"; evaluates first where that was not done yet.

        The dialog has asked whether a file may give way.
        """
        if kind == "bop":
            self._write_bop(path, data, runs, split, tell)
            return
        if self._key != _key(data, runs, split) or self._report is None:
            self.evaluate(data, runs, split, tell)
        assert self._report is not None
        if kind == "html":
            network = load_network(runs[0])
            named = zip(names_of(runs), runs, strict=True)
            curves = {name: RunFolder.open(run).curves() for name, run in named}
            write_html(path, self._report, dataset=open_dataset(data), models=network.models,
                       curves=curves, replace=True)  # fmt: skip
        else:
            text = self._report.csv() if kind == "csv" else self._report.latex()
            atomic_write(path, text.encode())

    def _write_bop(
        self, folder: Path, data: str, runs: Sequence[str], split: str | None, tell: Told
    ) -> None:
        """One results file a run, named METHOD_DATASET-SPLIT.csv as BOP wants it."""
        dataset = open_dataset(data)
        chosen = default_split(dataset, split, "eval")
        frames = dataset.split(chosen) if chosen else dataset
        total = len(frames) * len(runs)
        for number, (run, own) in enumerate(zip(runs, names_of(runs), strict=True)):
            predictor = NetworkPredictor(load_network(run).network, masks=False)
            estimates: list[Any] = []
            for index in range(len(frames)):
                estimates += predictor(frames.frame(index))
                tell((number * len(frames) + index + 1, total))
            write_bop_results(folder / results_name(own, dataset.bop_name), estimates)


def _key(data: str, runs: Sequence[str], split: str | None) -> Key:
    """What scores are of: networks that learn on have others."""
    steps = [best_step(Path(run)) for run in runs]
    files = (
        None if step is None else checkpoint_file(Path(run), step)
        for run, step in zip(runs, steps, strict=True)
    )  # fmt: skip
    return data, tuple(map(network_key, runs, files)), split
