"""Runs in the background: one interface, a process or a thread behind it."""

from studio.jobs.job import Job, JobState
from studio.jobs.spec import JobSpec

__all__ = ["Job", "JobSpec", "JobState"]
