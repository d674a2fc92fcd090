"""A run's network as a folder that stands alone."""

from __future__ import annotations

from pathlib import Path


def export(
    run: str | Path,
    to: str | Path,
    *,
    onnx: bool = True,
    program: bool = False,
    size: tuple[int, int] | None = None,
    views: int | None = None,
) -> list[Path]:
    """Write a run's network to a folder that stands alone; see `self6d.packaging.export_run`.

    >>> files = export(out / "adapted", out / "network", onnx=False)
    >>> sorted(file.name for file in files if file.suffix == ".py")
    ['example.py']
    """
    from self6d.packaging import export_run

    return export_run(run, to, onnx=onnx, program=program, size=size, views=views)
