"""Checkpoints: safetensors for numbers, JSON for the rest, a checksum that ties them together.

`step_00000100.safetensors` holds the tensors after 100 steps. `step_00000100.json` beside it holds
the rest of the task's state, where it came from, and a SHA-256 over all of it. The JSON is written
last, so a checkpoint exists only once all of it is on disk. Reading never runs code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from self6d.errors import CheckpointError, InputError
from self6d.memory import is_out_of_memory
from self6d.storage import atomic_write

FORMAT = 1
_NAME = re.compile(r"step_(\d{8,})\.json")
_CHUNK = 1 << 22


@dataclass
class Checkpoint:
    """A task's whole state after `step` steps.

    Attributes:
        step: steps completed.
        tensors: by name, on the device asked for.
        meta: the task's state that is not tensors.
        info: provenance: versions, seed, configuration, time.
    """

    step: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """What `Task.load_state_dict` takes."""
        return {"tensors": self.tensors, "meta": self.meta}


def checkpoint_path(folder: Path, step: int) -> Path:
    """The tensors' file; the JSON is beside it."""
    return folder / f"step_{step:08d}.safetensors"


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], info: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint; it exists once this returns, and not before.

    Args:
        folder: existing folder.
        step: steps completed.
        state: {"tensors": {name: Tensor}, "meta": what JSON can hold}.
        info: provenance, what JSON can hold.

    Raises:
        OSError: disk full, folder gone, ...; earlier checkpoints are untouched.
    """
    path = checkpoint_path(folder, step)
    data = safetensors.torch.save(_own_storage(state["tensors"]))
    record = {
        "format": FORMAT,
        "step": step,
        "size": len(data),
        "meta": state.get("meta", {}),
        "info": info or {},
    }
    # before anything is written, as it may not be JSON; and as reading will give it back
    record = json.loads(json.dumps(record))
    text = json.dumps({**record, "sha256": _digest(record, [data])}, indent=1)
    atomic_write(path, data)
    atomic_write(path.with_suffix(".json"), text.encode())
    return path


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        path: the .safetensors or the .json file.

    Raises:
        CheckpointError: missing, damaged, or of an unknown format.
    """
    return _checkpoint(*_read(Path(path)), device)


def load_first_intact(
    paths: Iterable[Path], device: torch.device | str = "cpu"
) -> Checkpoint | None:
    """The first whose checksum holds, each file being read once; None where none does.

    Raises:
        CheckpointError: it is of no format that can be read all the same.
    """
    for path in paths:
        try:
            found = _read(path)
        except CheckpointError:
            continue
        return _checkpoint(*found, device)
    return None


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder, oldest first, by name only."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    found = sorted((int(m[1]), name) for name in names if (m := _NAME.fullmatch(name)))
    return [(folder / name).with_suffix(".safetensors") for _, name in found]


def is_intact(path: Path) -> bool:
    """Whether both files are there and the checksum holds. Reads the file in chunks."""
    try:
        record = _read_record(path.with_suffix(".json"))
        with open(path, "rb") as file:
            return _digest(record, iter(lambda: file.read(_CHUNK), b"")) == record["sha256"]
    except (OSError, CheckpointError):
        return False


def newest_intact(folder: Path) -> Path | None:
    """The newest checkpoint whose checksum holds."""
    return next((path for path in reversed(checkpoints(folder)) if is_intact(path)), None)


def prune(folder: Path, keep_last: int, keep: set[Path]) -> None:
    """Delete all but the last `keep_last` checkpoints and those in `keep`."""
    for path in checkpoints(folder)[: -max(keep_last, 1)]:
        if path in keep:
            continue
        with contextlib.suppress(OSError):  # JSON first: half a deletion is no checkpoint
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def pack(tree: Any) -> dict[str, Any]:
    """Split nested dicts, lists and tuples of tensors and plain values into tensors and JSON.

    Returns:
        {"tensors": {path: Tensor}, "meta": the tree with {"$tensor": path} in their place}.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value
            return {"$tensor": path}
        if isinstance(value, dict):
            # integer keys (an optimiser's parameter numbers) would come back as text
            pairs = [[k, walk(v, f"{path}.{k}" if path else str(k))] for k, v in value.items()]
            if all(isinstance(k, str) for k, _ in pairs):
                return dict(pairs)
            return {"$pairs": pairs}
        if isinstance(value, list | tuple):
            return [walk(v, f"{path}.{i}") for i, v in enumerate(value)]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{path} holds a {type(value).__name__}, which a checkpoint cannot")

    return {"meta": walk(tree, ""), "tensors": tensors}


def unpack(packed: dict[str, Any]) -> Any:
    """Inverse of `pack` (tuples come back as lists).

    Raises:
        CheckpointError: a tensor is missing.
    """
    tensors = packed["tensors"]

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if "$tensor" in value:
                name = str(value["$tensor"])
                if name not in tensors:
                    raise CheckpointError(f"checkpoint lacks the tensor {name!r}", remedy=_REMEDY)
                return tensors[name]
            if "$pairs" in value:
                return {k: walk(v) for k, v in value["$pairs"]}
            return {k: walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return value

    return walk(packed["meta"])


@contextlib.contextmanager
def checkpoint_fits(path: Path) -> Iterator[None]:
    """Around code that takes a checkpoint's content apart: what does not fit is one line.

    Raises:
        CheckpointError: names are missing, or of another type or shape.
    """
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(error.what, path=path, remedy=error.remedy) from error
    except (InputError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _misfit(path, error) from error
    except RuntimeError as error:  # torch's word for other shapes, and for faults of the device
        if is_out_of_memory(error) or "CUDA error" in str(error):
            raise
        raise _misfit(path, error) from error


def _misfit(path: Path, error: Exception) -> CheckpointError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return CheckpointError(
        f"checkpoint does not fit ({reason})",
        path=path,
        remedy="Go on with the configuration and version of self6d-studio that wrote it.",
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`optimizer.load_state_dict` that also gives moments the memory layout of their parameters.

    Files hold plain row-major tensors. Fused optimisers walk parameter, gradient and moments side
    by side in memory, so those of channels-last parameters must be laid out like them. Which
    kernels step is this optimiser's own matter: a state of another device may say otherwise.
    """
    own = {name: optimizer.defaults.get(name) for name in ("fused", "foreach", "capturable")}
    groups = [{**group, **own} for group in state["param_groups"]]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _own_storage(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, and no two sharing memory (safetensors refuses shared memory)."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        address = value.untyped_storage().data_ptr()
        if address in seen or value.untyped_storage().nbytes() != value.nbytes:
            value = value.clone()
            address = value.untyped_storage().data_ptr()
        seen.add(address)
        out[name] = value
    return out


def _read(path: Path) -> tuple[Path, dict[str, Any], bytes]:
    """A checkpoint's file, what its JSON says, and the bytes that are as they were written.

    Raises:
        CheckpointError: missing or damaged, or a JSON of an unknown format.
    """
    path = path.with_suffix(".safetensors")
    record = _read_record(path.with_suffix(".json"))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint cannot be read ({error.strerror})", path=path, remedy=_REMEDY
        ) from error
    if _digest(record, [data]) != record["sha256"]:
        raise CheckpointError("checkpoint is damaged (checksum differs)", path=path, remedy=_REMEDY)
    return path, record, data


def _checkpoint(
    path: Path, record: dict[str, Any], data: bytes, device: torch.device | str
) -> Checkpoint:
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError("not a safetensors file", path=path, remedy=_REMEDY) from error
    return Checkpoint(
        step=record["step"],
        tensors={name: tensor.to(device) for name, tensor in tensors.items()},
        meta=record["meta"],
        info=record["info"],
    )


_REMEDY = "Resume from an earlier checkpoint of the run, or copy the file again."


def _digest(record: dict[str, Any], chunks: Iterable[bytes]) -> str:
    """SHA-256 of the tensors' file and of everything in the JSON but this sum itself."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"checkpoint cannot be read ({error.strerror})", path=path, remedy=_REMEDY
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError("checkpoint's JSON is damaged", path=path, remedy=_REMEDY) from error
    wanted = {"format": int, "step": int, "sha256": str, "meta": object, "info": dict}
    if not isinstance(record, dict) or not all(
        isinstance(record.get(key), kind) for key, kind in wanted.items()
    ):
        raise CheckpointError("not a checkpoint's JSON", path=path, remedy=_REMEDY)
    if record["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint has format {record['format']}, this version reads {FORMAT}",
            path=path,
            remedy="Use the version of self6d-studio that wrote it.",
        )
    return record
