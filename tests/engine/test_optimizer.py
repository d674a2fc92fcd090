"""The optimiser without torch's compiler takes the very steps of torch's own."""

import pytest
import torch

from self6d.engine.optimizer import AdamW


@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_those_of_torch(fused):
    ends = []
    for kind in (AdamW, torch.optim.AdamW):
        torch.manual_seed(3)
        net = torch.nn.Linear(5, 3)
        given = [{"params": [net.weight]}, {"params": [net.bias], "weight_decay": 0.0}]
        optimizer = kind(given, lr=0.02, weight_decay=0.1, fused=fused)
        states = []
        for step in range(6):
            if step == 3:  # as a resumed run
                kept = optimizer.state_dict()
                optimizer = kind(given, lr=0.5, fused=fused)
                optimizer.load_state_dict(kept)
            optimizer.zero_grad()
            net(torch.randn(7, 5)).square().sum().backward()
            optimizer.step()
            states.append([p.detach().clone() for p in net.parameters()])
        ends.append((states, optimizer.state_dict()))
    (mine, mine_kept), (torchs, torchs_kept) = ends
    torch.testing.assert_close(mine, torchs, rtol=0, atol=0)
    torch.testing.assert_close(mine_kept, torchs_kept, rtol=0, atol=0)


def test_no_gradients_are_kept_through_a_step():
    weight = torch.ones(3, requires_grad=True)
    optimizer = AdamW([weight], lr=0.1, fused=True)
    weight.sum().backward()
    optimizer.step()
    assert weight.requires_grad
    assert weight.grad_fn is None
    assert all(not moment.requires_grad for moment in optimizer.state[weight].values())
