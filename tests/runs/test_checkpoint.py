"""Checkpoints on disk: exact, verified, never code."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from self6d.engine.finite import finite_step
from self6d.errors import CheckpointError
from self6d.runs.checkpoint import (
    is_intact,
    load_checkpoint,
    load_optimizer,
    newest_intact,
    pack,
    prune,
    save_checkpoint,
    unpack,
)

STATE = {
    "tensors": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)},
    "meta": {"a": [1, "x"]},
}


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.int64]
)
def test_round_trip_keeps_every_bit(tmp_path, dtype):
    values = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    path = save_checkpoint(tmp_path, 5, {"tensors": {"v": values}, "meta": {}}, {"seed": 3})
    found = load_checkpoint(path)
    assert found.tensors["v"].dtype == dtype
    assert torch.equal(found.tensors["v"], values)
    assert (found.step, found.info) == (5, {"seed": 3})


def test_shared_views_and_strides_are_written_apart(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    views = {"whole": base, "turned": base.t(), "row": base[1], "same": base}
    found = load_checkpoint(save_checkpoint(tmp_path, 1, {"tensors": views})).tensors
    assert all(torch.equal(found[name], value) for name, value in views.items())


def test_optimizer_state_survives_packing(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    tree = {"optimizer": optimizer.state_dict(), "pair": (1, None, 2.5), "names": {3: "x"}}
    back = unpack(load_checkpoint(save_checkpoint(tmp_path, 1, pack(tree))).state())
    fresh = torch.optim.AdamW([weight], lr=0.5)
    fresh.load_state_dict(back["optimizer"])
    assert fresh.param_groups[0]["lr"] == 0.1
    assert torch.equal(fresh.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg"])
    assert back["pair"] == [1, None, 2.5]
    assert back["names"] == {3: "x"}


def test_resumed_fused_optimizer_of_channels_last_weights_steps_alike(tmp_path):
    """Files are row-major: moments must get their parameters' layout back."""

    def make():
        torch.manual_seed(0)
        conv = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return conv, torch.optim.AdamW(conv.parameters(), lr=0.1, fused=True)

    def step(conv, optimizer, seed):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        conv(x).square().mean().backward()
        optimizer.step()

    conv, optimizer = make()
    step(conv, optimizer, 1)
    tree = {"conv": conv.state_dict(), "optimizer": optimizer.state_dict()}
    path = save_checkpoint(tmp_path, 1, pack(tree))
    step(conv, optimizer, 2)
    resumed, fresh = make()
    back = unpack(load_checkpoint(path).state())
    resumed.load_state_dict(back["conv"])
    load_optimizer(fresh, back["optimizer"])
    step(resumed, fresh, 2)
    assert torch.equal(resumed.weight, conv.weight)


@pytest.mark.parametrize("fused", [False, True])
def test_a_state_of_another_kind_of_kernels_goes_on(tmp_path, fused):
    """A run begun on a CPU, or by a version that did not fuse, goes on with a fused optimiser."""

    def make(fused):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)

    def step(layer, optimizer, seed):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        loss = layer(x).square().mean()
        finite_step(optimizer, list(layer.parameters()), loss, clip=1.0)

    layer, optimizer = make(not fused)
    step(layer, optimizer, 1)
    tree = {"layer": layer.state_dict(), "optimizer": optimizer.state_dict()}
    back = unpack(load_checkpoint(save_checkpoint(tmp_path, 1, pack(tree))).state())
    resumed, fresh = make(fused)
    resumed.load_state_dict(back["layer"])
    load_optimizer(fresh, back["optimizer"])
    for seed in (2, 3):
        step(layer, optimizer, seed)
        step(resumed, fresh, seed)
    assert fresh.param_groups[0]["fused"] is fused
    torch.testing.assert_close(resumed.weight, layer.weight, rtol=1e-5, atol=1e-6)


def test_packing_refuses_what_json_cannot_hold():
    with pytest.raises(TypeError, match=r"a\.b holds a set"):
        pack({"a": {"b": {1, 2}}})


def test_numbers_as_keys_do_not_look_like_damage(tmp_path):
    state = {"tensors": {}, "meta": {2: "a", 10: "b"}}
    assert load_checkpoint(save_checkpoint(tmp_path, 1, state)).meta == {"2": "a", "10": "b"}


def test_damage_is_noticed_and_the_one_before_found(tmp_path):
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, STATE)
    newest = tmp_path / "step_00000030.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    (tmp_path / "step_00000020.safetensors").unlink()
    assert newest_intact(tmp_path) == tmp_path / "step_00000010.safetensors"
    with pytest.raises(CheckpointError, match="checksum differs"):
        load_checkpoint(newest)


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_truncated_files_are_not_intact(tmp_path, cut):
    path = save_checkpoint(tmp_path, 1, STATE)
    for file in (path, path.with_suffix(".json")):
        whole = file.read_bytes()
        file.write_bytes(whole[:cut])
        assert not is_intact(path)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        assert "\n" not in caught.value.one_line()
        file.write_bytes(whole)
    assert is_intact(path)


@pytest.mark.parametrize(
    "record", ["[]", "{}", "null", '{"format": 1}', '{"format": 99, "step": 1}', "[" * 100_000]
)
def test_json_of_another_shape_is_refused(tmp_path, record):
    path = save_checkpoint(tmp_path, 1, STATE)
    path.with_suffix(".json").write_text(record)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert newest_intact(tmp_path) is None


def test_newer_format_names_the_remedy(tmp_path):
    path = save_checkpoint(tmp_path, 1, STATE)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(CheckpointError, match="format 2, this version reads 1"):
        load_checkpoint(path)


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_a_pickle_in_place_of_weights_is_never_run(tmp_path):
    """Even with a checksum that fits."""
    from self6d.runs import checkpoint

    path = save_checkpoint(tmp_path, 1, STATE)
    bomb = Bomb(tmp_path / "exploded")
    for evil in (pickle.dumps(bomb), _zipped_pickle(tmp_path, bomb)):
        path.write_bytes(evil)
        record = json.loads(path.with_suffix(".json").read_text())
        record["sha256"] = checkpoint._digest(record, [evil])
        path.with_suffix(".json").write_text(json.dumps(record))
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_checkpoint(path)
    assert not bomb.mark.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.mark.exists()  # it would have gone off


@settings(max_examples=60)
@given(st.sampled_from(["json", "safetensors"]), st.data())
def test_any_damage_is_noticed(tmp_path_factory, which, data):
    """Bytes changed, cut or added anywhere, in either file."""
    folder = tmp_path_factory.mktemp("checkpoints")
    path = save_checkpoint(folder, 1, STATE, {"seed": 1})
    file = path.with_suffix(f".{which}")
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(["change", "cut", "add"]))
    if how == "change":
        content[at] = data.draw(st.integers(0, 255).filter(lambda b: b != content[at]))
    elif how == "cut":
        del content[at:]
    else:
        content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    file.write_bytes(content)
    try:
        found = load_checkpoint(path)
    except CheckpointError as error:
        assert "\n" not in error.one_line()  # noqa: PT017
        assert not is_intact(path)
    else:  # such as a blank between two JSON tokens
        assert which == "json"
        assert (found.step, found.meta, found.info) == (1, STATE["meta"], {"seed": 1})


def _zipped_pickle(folder, bomb) -> bytes:
    file = folder / "evil.pth"
    torch.save({"w": bomb}, file)
    return file.read_bytes()


def test_pruning_keeps_the_last_and_the_best(tmp_path):
    paths = [save_checkpoint(tmp_path, step, STATE) for step in range(1, 8)]
    prune(tmp_path, keep_last=2, keep={paths[1]})
    assert sorted(tmp_path.glob("*.safetensors")) == [paths[1], paths[5], paths[6]]
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_missing_tensor_is_named():
    packed = pack({"w": torch.ones(2)})
    packed["tensors"] = {}
    with pytest.raises(CheckpointError, match="lacks the tensor 'w'"):
        unpack(packed)
