"""Records of tensors, and their trip to a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.synthesis.record import TensorRecord, pack, unpack, upload


@dataclass
class Pair(TensorRecord):
    number: Tensor
    vector: Tensor


def test_rows_of_all_fields() -> None:
    pair = Pair(torch.arange(4), torch.rand(4, 3))
    some = pair[torch.tensor([2, 0])]
    assert some.number.tolist() == [2, 0]
    assert torch.equal(some.vector, pair.vector[[2, 0]])
    assert pair[1:3].number.tolist() == [1, 2]


def test_packed_bytes_come_back_as_they_were() -> None:
    tensors = [
        torch.rand(3, 5).T,
        torch.tensor([True, False, True]),
        torch.zeros(0, 4, dtype=torch.int64),
        torch.randint(100, (7,)),
        torch.rand(2, 3, 3, dtype=torch.float64),
    ]
    for before, after in zip(tensors, unpack(pack(tensors), tensors), strict=True):
        assert before.dtype == after.dtype
        assert torch.equal(before, after)


def test_upload_keeps_kinds_and_order(device) -> None:
    pair = Pair(torch.arange(3), torch.rand(3, 2))
    flags = torch.tensor([True, False])
    there, same = upload(device, pair, flags)
    assert isinstance(there, Pair)
    assert there.vector.device.type == same.device.type == device.type
    assert torch.equal(there.vector.cpu(), pair.vector)
    assert torch.equal(same.cpu(), flags)
