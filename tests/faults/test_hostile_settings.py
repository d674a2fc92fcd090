"""Settings that make no sense are refused in one line, before anything is made or allocated."""

from __future__ import annotations

import pytest

from self6d.errors import InputError
from self6d.run_config import build_config

SETTINGS = [
    "a=1", "train=3", "=", "x", "\x00=1", "train.steps=[1", "train.steps=0", "train.steps=-1",
    "train.steps=1e400", "train.steps=nan", "train.batch=0", "train.batch=1000000000000",
    "train.batch=" + "9" * 30, "train.lr=" + "1" * 5000, "train.lr=1e308", "train.lr=-1",
    "train.lr=inf", "train.ema=2", "train.clip=-1", "train.compile=maybe", "train.seed=1",
    "train.validation_images=0", "network.crop_size=0", "network.crop_size=1",
    "network.head_channels=0", "network.pyramid_channels=0", "network.roi_samples=0",
    "network.mask_upsample=0", "network.pnp_features=-1", "network.regions=-1",
    "synthesis.height=0", "synthesis.height=100000000", "synthesis.instances_max=0",
    "synthesis.apparent_min=0", "synthesis.resting=-1", "loop.checkpoint_every=0",
    "loop.preview_every=0", "loop.keep_last=0", "loop.curve_points=0", "loop.max_skipped=0",
    "loop.preview_share=0", "loop.checkpoint_minutes=-1", "loss.mask=-1", "loss.geometry=nan",
    "loss.points=0", "loss.trim=1", "adapt.batch=0", "adapt.region=1", "adapt.padding=0",
    "adapt.ema=1", "optimize.starts=0",
]  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda text: ascii(text)[:40])
def test_one_line(setting):
    with pytest.raises(InputError) as caught:
        build_config("tiny", [setting])
    line = caught.value.one_line()
    assert "\n" not in line
    assert len(line) < 400
    assert caught.value.remedy
    assert repr(setting.partition("=")[0].partition(".")[0])[1:-1] in line


@pytest.mark.parametrize("text", [
    b"", b"\xff\xfe\x00", b"\x00", b"train = 3", b'extends = ["x"]', b"extends = {a = 1}",
    b'extends = "nothing"', b"a = " + b"[" * 3000, b"[train]\nsteps = " + b"9" * 5000,
    b"[train]\nsteps = 99999999999999999999", b"version https://git-lfs.github.com/spec/v1\n",
], ids=range(11))  # fmt: skip
def test_preset_files(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_bytes(text)
    with pytest.raises(InputError) as caught:
        build_config(file)
    assert "\n" not in caught.value.one_line()
    assert len(caught.value.one_line()) < 600
    assert caught.value.remedy


@pytest.mark.parametrize("kind", ["missing", "folder", "link to itself"])
def test_preset_paths(tmp_path, kind):
    file = tmp_path / "mine.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "link to itself":
        file.symlink_to(file)
    with pytest.raises(InputError) as caught:
        build_config(file)
    assert caught.value.path == file
    assert caught.value.remedy
