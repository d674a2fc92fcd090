"""Memory that really runs out, on the CPU; `tests/gpu` does the same on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy_task import ToyTask

from self6d import cli, jobs
from self6d.engine.loop import LoopConfig, run_task
from self6d.errors import OutOfMemoryError
from self6d.events import Note
from self6d.memory import is_out_of_memory
from self6d.runs.folder import RunFolder

HELPERS = Path(__file__).resolve().parent.parent / "helpers"


def tight(run: Path, item_mb: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(HELPERS / "tight_memory.py"), str(run), str(item_mb)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.returncode, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_batch_is_halved_until_it_fits(run_path):
    code, output = tight(run_path, 80)  # 16 items are 1280 MB, of which 400 are there
    assert code == 0, output
    assert output.count("out of memory: the batch is halved and the step repeated") == 2
    assert "batch 4" in output
    assert RunFolder.open(run_path).curves()["loss/total"][0].tolist() == list(range(12))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_not_even_one_item_fits(run_path):
    code, output = tight(run_path, 900)
    assert code == OutOfMemoryError.exit_code
    assert output.count("batch is halved") == 4
    assert "memory does not hold even the smallest batch" in output
    run = RunFolder.open(run_path)
    assert run.status == "failed"
    assert run.latest_checkpoint().stem == "step_00000006"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_faults_are_memory(error, expected):
    assert is_out_of_memory(error) == expected


def test_previews_that_do_not_fit_are_left_out(run_path):
    class Greedy(ToyTask):
        def previews(self, step: int):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    notes = []
    run = RunFolder.create(run_path, "toy", {})
    loop = LoopConfig(preview_every=2)
    run_task(Greedy(10), run, loop, lambda e: isinstance(e, Note) and notes.append(e.text))
    assert notes == ["out of memory: previews are left out where they do not fit"]
    assert run.status == "done"


def test_memory_gone_elsewhere_names_the_last_checkpoint(run_path):
    class Judged(ToyTask):
        def score(self) -> float:
            if self.steps_done:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return 0.0

    run = RunFolder.create(run_path, "toy", {})
    with pytest.raises(OutOfMemoryError, match=r"The last good checkpoint is step_00000005"):
        run_task(Judged(10), run, LoopConfig(checkpoint_every=5))


def test_commands_without_a_loop_end_with_the_code_of_memory(monkeypatch, tmp_path, capsys):
    def explode(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TiB.")

    monkeypatch.setattr(jobs, "predict", explode)
    run = RunFolder.create(tmp_path / "run", "synthetic", {}, {}, seed=0)
    image = tmp_path / "image.png"
    Image.new("RGB", (8, 6)).save(image)
    camera = tmp_path / "camera.json"
    camera.write_text('{"fx": 9, "fy": 9, "cx": 4, "cy": 3, "width": 8, "height": 6}')
    code = cli.run(["predict", str(image), "--from", str(run.path), "--camera", str(camera)])
    assert code == OutOfMemoryError.exit_code
    assert capsys.readouterr().err.startswith("error: out of memory. Free memory")


def test_memory_that_is_freed_is_kept_and_given_back() -> None:
    """Tensors of a step are not fetched from the system page by page again and again."""
    program = """
import resource, torch
from self6d.memory import free_memory, keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        maps = [torch.ones(20 * 2**18) for _ in range(4)]
        del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if keep_freed_memory():
    faults()
    assert faults() < 2000, faults()  # of 8 times 20480
    rss = lambda: int(open("/proc/self/statm").read().split()[1])
    held = rss()
    free_memory()
    assert rss() < held - 15000, (held, rss())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
