"""What waits for a run goes on from what was learned, or waits until that run is resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from self6d.events import Finished
from studio.controllers.chain import Chain
from studio.controllers.runs import RunControl
from studio.engine import Engine
from studio.jobs import JobSpec, JobState
from studio.jobs.process_runner import ProcessJob
from studio.jobs.queue import JobQueue
from studio.model.project import Project

pytestmark = pytest.mark.gui


class Session:
    """A queue with a job at work, one that learns from it, one from that, and one from nothing."""

    def __init__(self, settings, folder: Path) -> None:
        self.queue = JobQueue()
        self.runs = RunControl(Project(), settings, self.queue, Engine())
        self.chain = Chain(self.runs)
        self.told: list[tuple[str, list[str]]] = []
        for name in ("goesOn", "halted"):
            getattr(self.chain, name).connect(lambda _, specs, name=name: self.tell(name, specs))
        models = (folder / "models",)
        first = JobSpec("train", folder / "first", models=models)
        learns = replace(first, kind="adapt", data=folder / "data")
        self.first = ProcessJob.attach(first, os.getpid(), self.queue)
        self.queue._adopt(self.first)
        for name, start in (("second", "first"), ("third", "second"), ("other", "known")):
            self.queue.submit(replace(learns, out=folder / name, from_run=folder / start))

    def tell(self, name: str, specs: list[JobSpec]) -> None:
        self.told.append((name, [spec.out.name for spec in specs]))

    def end(self, reason: str, step: int, **result: float) -> None:
        self.first._on_event(Finished(step, reason, result))

    def states(self) -> dict[str, JobState]:
        return {job.run.name: job.state for job in self.queue.jobs}


@pytest.fixture
def session(qapp, settings, tmp_path) -> Iterator[Session]:
    session = Session(settings, tmp_path)
    yield session
    session.first.detach()
    active = [job for job in session.queue.active if job is not session.first]
    for job in active:
        job.kill()
    session.queue.close()  # nobody else asks for its end from here on
    for job in active:
        job._process.wait()
    session.runs.engine.close()


def test_stopped_early_it_is_gone_on_from(session: Session) -> None:
    session.end("stopped", 40, add_recall=0.2)
    assert session.told == [("goesOn", ["second", "third"])]
    assert session.states() == {
        "first": JobState.STOPPED, "second": JobState.STARTING,
        "third": JobState.QUEUED, "other": JobState.QUEUED,
    }  # fmt: skip


@pytest.mark.parametrize(("selected", "then"), [("first", "second"), ("known", "known")])
def test_what_goes_on_from_the_selected_run_is_selected(
    session: Session, tmp_path: Path, selected: str, then: str
) -> None:
    """Stage 1 stayed selected, and was exported in place of what had learned from it."""
    session.runs.project.select_run(tmp_path / selected)
    session.end("done", 40, add_recall=0.2)
    assert session.states()["second"] is JobState.STARTING
    assert session.runs.project.run == tmp_path / then


@pytest.mark.parametrize(
    ("reason", "step", "result"),
    [("stopped", 0, {}), ("stopped", 40, {"add_recall": 0.0}), ("out of memory", 40, {})],
)
def test_where_nothing_was_learned_it_waits_for_resume(
    session: Session, wait, reason: str, step: int, result: dict[str, float]
) -> None:
    session.end(reason, step, **result)
    assert session.told == [("halted", ["second", "third"])]
    assert list(session.states()) == ["first", "other"]
    # a restart would offer it again
    assert [spec.out.name for spec in session.chain.waiting] == ["second", "third"]
    session.queue.submit(replace(session.first.spec, resume=True))
    wait(lambda: len(session.queue.waiting) == 3)
    waiting = session.queue.waiting
    assert [job.run.name for job in waiting] == ["first", "second", "third"]
    assert [job.spec.from_run.name for job in waiting[1:]] == ["first", "second"]


def test_a_name_that_was_taken_meanwhile_is_followed(session: Session, wait) -> None:
    session.end("stopped", 0)
    session.first.run.with_name("second").mkdir()
    session.queue.submit(replace(session.first.spec, resume=True))
    wait(lambda: len(session.queue.waiting) == 3)
    assert [job.run.name for job in session.queue.waiting] == ["first", "second-01", "third"]
    assert session.queue.waiting[2].spec.from_run.name == "second-01"


def test_what_waits_for_a_job_that_is_taken_off_the_queue_goes_too(session: Session) -> None:
    session.queue.drop(session.queue.find(session.first.run.with_name("second")))
    assert session.told == [("halted", ["third"])]
    assert list(session.states()) == ["first", "other"]
    assert [spec.out.name for spec in session.chain.waiting] == ["other"]  # nothing is kept of it


def test_what_is_done_lets_the_next_begin_unasked(session: Session) -> None:
    session.end("done", 100, add_recall=0.0)
    assert session.told == []
    assert session.states()["second"] is JobState.STARTING


def test_what_waits_already_is_not_queued_twice(session) -> None:
    """As three clicks on Track would; another seed is another run."""
    told: list[str] = []
    session.runs.said.connect(lambda level, text: told.append(text))
    waiting, jobs = session.queue.waiting[0], len(session.queue.jobs)
    for _ in range(2):
        assert session.runs.submit(waiting.spec) is waiting
    assert len(session.queue.jobs) == jobs
    assert "second does exactly this already" in told[0]
    other = session.runs.submit(replace(waiting.spec, seed=5))
    assert (other.state, other.run.name) == (JobState.QUEUED, "second-01")


@pytest.mark.parametrize(("step", "why"), [(40, "no pose right yet"), (0, "learned nothing yet")])
def test_why_what_waits_does_not_start_is_so(opened, tmp_path: Path, step: int, why: str) -> None:
    """After hundreds of steps it was said to have learned nothing."""
    first = JobSpec("train", tmp_path / "first", models=(tmp_path / "models",))
    job = ProcessJob.attach(first, os.getpid(), opened.queue)
    opened.queue._adopt(job)
    opened.queue.submit(replace(first, kind="adapt", out=tmp_path / "second", from_run=job.run))
    job._on_event(Finished(step, "stopped", {"add_recall": 0.0}))
    told = f"second does not start: first, which it would learn from, has {why}."
    assert told in opened.banner.text.text()
    job.detach()
