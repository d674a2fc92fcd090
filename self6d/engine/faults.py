"""How a run that failed explains itself."""

from __future__ import annotations

from self6d.errors import DivergenceError, OutOfMemoryError, Self6DError
from self6d.memory import is_out_of_memory
from self6d.runs.folder import RunFolder


def no_memory_left(run: RunFolder) -> OutOfMemoryError:
    """The end of a run that not even the smallest batch could save."""
    return OutOfMemoryError(
        "memory does not hold even the smallest batch",
        path=run.path,
        remedy="Free memory, or choose smaller images or a smaller network, "
        "and go on with --resume.",
    )


def readable(error: BaseException, run: RunFolder) -> BaseException:
    """Name the checkpoint to go on from where the fault may have spoilt the state in memory."""
    kind: type[Self6DError]
    if isinstance(error, DivergenceError):
        kind, what, remedy = type(error), error.what, error.remedy
    elif isinstance(error, Self6DError):
        return error
    elif is_out_of_memory(error):
        kind, what, remedy = OutOfMemoryError, f"out of memory ({one_line(error)})", None
    elif isinstance(error, RuntimeError) and "CUDA error" in str(error):
        kind, what, remedy = Self6DError, f"the GPU reported a fault ({one_line(error)})", None
    else:
        return error
    # one whose health fell has just called its newest checkpoint bad
    last = run.best_checkpoint() if isinstance(error, DivergenceError) else run.latest_checkpoint()
    good = f"The last good checkpoint is {last.name}." if last else "No checkpoint was written yet."
    return kind(what, path=run.path, remedy=f"{good} {remedy or 'Go on from it with --resume.'}")


def one_line(error: BaseException) -> str:
    """Type and message of any exception."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
