"""The network learns eight images by heart: detection, masks and poses, end to end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from self6d.network import NetworkConfig, PoseNetwork, masks_in_regions


@pytest.mark.slow
def test_eight_images_are_learnt(boxes) -> None:
    models = [boxes.model(1, (0.06, 0.1, 0.14))]
    batch = boxes.batch(models, 8, size=(64, 96), focal=(85.0, 85.0))
    config = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w16", crop_backbone="resnet10-w16"
    )
    torch.manual_seed(0)
    network = PoseNetwork(config, models).to(memory_format=torch.channels_last)
    steps = 150
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.2)
    for _ in range(steps):
        optimizer.zero_grad()
        network.losses(batch)["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()

    found = network.predict(batch.images, batch.K)
    assert found.image_index.tolist() == list(range(8))
    assert boxes.add_recall(models, batch, found.R, found.t) > 0.95
    h, w = batch.images.shape[-2:]
    window = torch.tensor([[0.0, 0.0, w, h]]).expand(8, 4)
    seen = masks_in_regions(found, window, (h, w))[:, 0] > 0.5
    true = batch.mask_visible(torch.arange(8))
    overlap = (seen & true).sum((1, 2)) / (seen | true).sum((1, 2))
    assert overlap.mean() > 0.9
