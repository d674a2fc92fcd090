"""A run of random weights, a refiner, and the package made of both."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_once import made_once
from small_package import SIZE, K

from self6d.datasets import load_models
from self6d.geometry import Camera
from self6d.network import NetworkConfig, PoseNetwork
from self6d.packaging import export_run
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.weights import save_refiner
from self6d.runs import checkpoint
from self6d.runs.folder import RunFolder
from self6d.sample.sample import models_folder
from self6d.scene.models_copy import save_models


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> RunFolder:
    """A run whose network has random weights, and a detector that is sure of everything."""
    models = load_models(models_folder())[:2]
    small = {"backbone": "resnet10-w16", "crop_backbone": "resnet10-w16", "crop_size": 32}
    config = replace(NetworkConfig.preset("tiny"), **small, head_channels=32, regions=4)
    config = replace(config, instances=3, image_height=80)  # of images of 96 rows
    config = replace(config, weights="none", crop_weights="none")
    torch.manual_seed(0)
    network = PoseNetwork(config, models).eval()
    with torch.no_grad():
        network.detector.classify.cls_logits.bias.fill_(2.0)
    made = RunFolder.create(tmp_path_factory.mktemp("export") / "run", "synthetic", {}, seed=5)
    save_models(models, made.models_path)
    camera = {"K": Camera.from_opencv(K, SIZE[1], SIZE[0]).K.tolist(), "size": list(SIZE)}
    state = {
        "network": network.state_dict(),
        "network_config": asdict(config),
        "object_ids": network.object_ids,
        "camera": camera,
    }
    made.save_checkpoint(3, checkpoint.pack(state))
    return made


@pytest.fixture(scope="session")
def refiner(tmp_path_factory) -> Path:
    """A refiner that moves what it sees, anywhere."""
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerConfig("resnet10-w16", size=64, head_channels=8), 1)
    torch.nn.init.normal_(network.out.weight, std=0.05)
    path = tmp_path_factory.mktemp("refiner") / "any.safetensors"
    save_refiner(path, network, [])
    return path


@pytest.fixture(scope="session")
def package(run, refiner) -> Path:
    pytest.importorskip("onnxscript")
    return made_once(
        "small-package",
        lambda to: export_run(run, to, onnx=True, program=True, refiner=refiner),
    )


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), SIZE[::-1])
    return picture
