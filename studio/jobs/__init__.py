"""Runs in the background: one interface, a process or a thread behind it."""

from studio.jobs.job import Job, JobSpec, JobState

__all__ = ["Job", "JobSpec", "JobState"]
