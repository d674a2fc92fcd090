"""What others get of a run: its network as a folder that stands alone, or a small run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import Tensor

from self6d.arguments import checked
from self6d.runs.checkpoint import pack, unpack
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import run_models
from self6d.runs.provenance import Provenance
from self6d.scene.models_copy import save_models

OWN_PATHS = (
    ("synthesis", "backgrounds"),
    ("synthesis", "pbr"),
    ("adapt", "refiner"),
    ("loss", "perceptual_weights"),
)
KEPT = ("network", "network_config", "object_ids", "camera", "refiner")


@checked
def export(
    run: str | Path,
    to: str | Path,
    *,
    onnx: bool = True,
    int8: bool = False,
    program: bool = False,
    size: tuple[int, int] | None = None,
    views: int | None = None,
    instances: int | None = None,
    refiner: str | Path | None = None,
) -> list[Path]:
    """Write a run's network to a folder that stands alone; see `self6d.packaging.export_run`.

    >>> files = export(out / "adapted", out / "network", onnx=False)
    >>> sorted(file.name for file in files if file.suffix == ".py")
    ['example.py', 'ros2_node.py']
    """
    from self6d.packaging import export_run

    return export_run(
        run, to, onnx=onnx, int8=int8, program=program, size=size, views=views,
        instances=instances, refiner=refiner,
    )  # fmt: skip


def slim(run: str | Path, to: str | Path) -> RunFolder:
    """A run folder with the best weights alone: to start other runs from, not to resume.

    Weights, those of a refiner that learned in the run too, are stored at half precision, vectors
    (biases, norms) at full. It may be given away: of
    the paths it was made from only the last part is told, and files that nobody else has
    (photographs, rendered sets) are taken out of its configuration.

    Raises:
        InputError: `to` is not empty. CheckpointError: no network in the run.
    """
    source = RunFolder.open(run)
    state = source.load_checkpoint()
    tree = unpack(state.state())
    tree["network"] = {k: _stored(v) for k, v in tree["network"].items()}
    if tree.get("refiner"):
        kept = {k: tree["refiner"][k] for k in ("config", "object_ids", "network")}
        kept["network"] = {k: _stored(v) for k, v in kept["network"].items()}
        tree["refiner"] = kept
    config = {
        section: {k: "" if (section, k) in OWN_PATHS else v for k, v in values.items()}
        for section, values in source.config.items()
    }
    models = run_models(source)
    told = Provenance.from_dict(source.info["provenance"])
    own = {".".join(names) for names in OWN_PATHS}
    told = replace(told, overrides={k: v for k, v in told.overrides.items() if k not in own})
    provenance = last_parts(told.to_dict())
    made = RunFolder.create(to, source.kind, config, provenance, seed=source.seed)
    save_models(models, made.models_path)
    made.save_checkpoint(
        state.step, pack({k: tree[k] for k in KEPT if tree.get(k) is not None}), {"slim": True}
    )
    made.update(status="done", step=state.step, total=state.step, result=source.result)
    if source.remark:
        made.update(remark=source.remark)
    return made


def _stored(weights: Tensor) -> Tensor:
    return weights.half() if weights.ndim > 1 and weights.is_floating_point() else weights


def last_parts(value: Any) -> Any:
    """The same, with every absolute path anywhere in it cut down to its last part."""
    if isinstance(value, dict):
        return {k: last_parts(v) for k, v in value.items()}
    if isinstance(value, list):
        return [last_parts(v) for v in value]
    if isinstance(value, str):
        windows = PureWindowsPath(value)
        if windows.drive or PurePosixPath(value).is_absolute():
            return windows.name  # knows both kinds of slash
    return value
