"""Several runs of stage 2 that differ in one thing, evaluated on the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from self6d import jobs
from self6d.config import merge, overrides
from self6d.datasets import open_dataset
from self6d.datasets.splits import default_split, some_frames
from self6d.engine.loop import run_task
from self6d.evaluation.report import Report
from self6d.events import Note
from self6d.experiments.common import Setting, interrupted, new_figure, png
from self6d.jobs.prepare import (
    asked_for,
    changes_of,
    later_config,
    open_run,
    reopen_run,
    resolve_device,
)
from self6d.losses.terms import TERMS
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network, run_models
from self6d.runs.provenance import Provenance, absolute
from self6d.stage2.upper_bound import UpperBoundTask

SHARES = (0.05, 0.15, 0.4, 1.0)


def ablation(setting: Setting) -> str:
    """Table 1: every term of L_self switched off in turn.

    The guard that stops a collapsing run is off, and each run's last checkpoint is scored: what a
    term is worth shows in what happens without it.
    """
    runs = [("all terms", _adapt(setting, "all", {"adapt.collapse": 0.0}))]
    for term in TERMS:
        changes = {"adapt.collapse": 0.0, f"loss.{term}": 0.0}
        runs.append((f"without {term}", _adapt(setting, f"without-{term}", changes)))
    before = [("stage 1", setting.from_run)]
    report = _report(setting, [*before, *runs], latest=True)
    names = [result.label for result in report.results]
    figure, (axis,) = new_figure(1)
    axis.barh(names[::-1], [100 * (r.mean.recall_10 or 0) for r in report.results][::-1])
    axis.set_xlabel("mean ADD(-S) recall at 10 %, %")
    return _finish(setting, report, png(figure))


def data_share(setting: Setting, shares: Sequence[float] | None = None) -> str:
    """Fig. 4, right: recall against the share of unlabelled frames."""
    chosen = sorted(shares or SHARES)
    runs = [("0 %", setting.from_run)]
    for share in chosen:
        name = f"{100 * share:g} %"
        runs.append((name, _adapt(setting, f"share-{100 * share:g}", {}, share=share)))
    report = _report(setting, runs)
    figure, (axis,) = new_figure(1)
    recalls = [100 * (r.mean.recall_10 or 0) for r in report.results]
    axis.plot([0, *(100 * s for s in chosen)], recalls, marker="o")
    axis.set_xlabel("unlabelled frames used, %")
    axis.set_ylabel("mean ADD(-S) recall at 10 %, %")
    return _finish(setting, report, png(figure))


def bounds(setting: Setting) -> str:
    """Stage 1 (LB), stage 2, and supervised on the same frames (UB)."""
    runs = [
        ("LB", setting.from_run),
        ("adapted", _adapt(setting, "adapted", {})),
        ("UB", _upper_bound(setting, "upper-bound")),
    ]
    report = _report(setting, runs)
    low, mid, high = (100 * (r.mean.recall_10 or 0) for r in report.results)
    figure, (axis,) = new_figure(1)
    axis.bar(["LB", "adapted", "UB"], [low, mid, high])
    axis.set_ylabel("mean ADD(-S) recall at 10 %, %")
    text = _finish(setting, report, png(figure))
    if high > low:
        text += f"closed {100 * (mid - low) / (high - low):.0f} % of the way from LB to UB\n"
    return text


def _adapt(setting: Setting, name: str, changes: dict[str, Any], *, share: float = 1.0) -> Path:
    """One run of stage 2, unless it is done already."""

    def make(out: Path) -> RunFolder:
        both = merge(overrides(setting.overrides or []), overrides(changes))
        return jobs.adapt(
            setting.data,
            setting.models,
            setting.from_run,
            out,
            preset=setting.preset,
            share=share,
            steps=setting.steps,
            overrides=both,
            seed=setting.seed,
            device=setting.device,
            resume=True,
            listener=setting.listener,
            control=setting.control,
        )

    return _run(setting, name, make)


def _upper_bound(setting: Setting, name: str) -> Path:
    def make(out: Path) -> RunFolder:
        device = resolve_device(setting.device)
        changes = changes_of(setting.overrides, {"adapt.steps": setting.steps})
        found = reopen_run(out, "upper_bound", None)
        if found is None:
            config = later_config(RunFolder.open(setting.from_run), setting.preset, changes)
            start = load_network(setting.from_run, models=setting.models, unit=config.models.unit)
            asked = asked_for(
                setting.preset, setting.overrides, setting.models, setting.steps, setting.device
            )
            source = Provenance(
                **asked, data=absolute(setting.data), from_run=absolute(setting.from_run)
            )
            run = open_run(
                out, "upper_bound", config, source, seed=setting.seed, models=start.models
            )
        else:
            run, config = found
        began = run.latest_checkpoint() is not None
        trained = load_network(
            run if began else setting.from_run, models=run.models_path, views=config.network.views
        )
        dataset = open_dataset(setting.data)
        frames = some_frames(dataset, default_split(dataset, None, "adapt"))
        task = UpperBoundTask(
            trained.network, run_models(run), frames, config.adapt, seed=run.seed, device=device
        )
        run_task(task, run, config.loop, setting.listener, setting.control)
        return run

    return _run(setting, name, make)


def _run(setting: Setting, name: str, make: Callable[[Path], RunFolder]) -> Path:
    setting.check_stop()
    out = setting.out / "runs" / name
    if (out / "run.json").is_file() and RunFolder.open(out).status == "done":
        return out
    if setting.listener is not None:
        setting.listener(Note("info", f"{setting.name}: {name}"))
    run = make(out)
    if run.status == "stopped":
        raise interrupted(out)
    return out


def _report(setting: Setting, runs: Sequence[tuple[str, Path]], *, latest: bool = False) -> Report:
    setting.check_stop()
    unit = overrides(setting.overrides or []).get("models", {}).get("unit", "auto")
    report = jobs.evaluate(
        setting.data,
        setting.models,
        [path for _, path in runs],
        latest=latest,
        unit=unit,
        device=setting.device,
        listener=setting.listener,
    )
    named = zip(report.results, runs, strict=True)
    return Report(tuple(replace(result, label=label) for result, (label, _) in named))


def _finish(setting: Setting, report: Report, figure: bytes) -> str:
    text = report.text()
    setting.write(f"{setting.name}.json", report.json())
    setting.write(f"{setting.name}.txt", text)
    setting.write(f"{setting.name}.tex", report.latex())
    setting.write(f"{setting.name}.png", figure)
    return text
