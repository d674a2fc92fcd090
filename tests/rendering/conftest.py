"""Small meshes, poses and cameras for the renderer's tests."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from self6d.benchmarks.render import bumpy_sphere
from self6d.geometry import random_rotations
from self6d.rendering import Shading, pack_models, render
from self6d.scene import ObjectModel


def object_model(vertices, faces, colors=None, **more) -> ObjectModel:
    vertices = np.asarray(vertices, np.float32)
    colors = np.full_like(vertices, 0.5) if colors is None else np.asarray(colors, np.float32)
    return ObjectModel(1, "m", vertices, np.asarray(faces, np.int32), colors, 1.0, **more)


def random_mesh(faces: int, seed: int) -> ObjectModel:
    """Separate random triangles of all sizes within a ball of 5 cm, randomly coloured."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(faces, 1, 3)) * 0.02
    corners = centres + rng.normal(size=(faces, 3, 3)) * rng.uniform(0.002, 0.03, (faces, 1, 1))
    vertices = corners.reshape(-1, 3)
    return object_model(
        vertices, np.arange(3 * faces).reshape(-1, 3), rng.uniform(size=vertices.shape)
    )


def camera(size, focal=None, skew=0.0):
    h, w = size
    f = 1.6 * min(h, w) if focal is None else focal
    return torch.tensor([[f, skew, 0.48 * w], [0, 1.1 * f, 0.53 * h], [0, 0, 1]])


def poses(batch, seed=0, distance=0.35):
    g = torch.Generator().manual_seed(seed)
    t = torch.randn(batch, 3, generator=g) * 0.02 + torch.tensor([0, 0, distance])
    return random_rotations(batch, generator=g), t


def headlight(batch, ambient=0.4):
    """One white light at the camera."""
    return Shading(
        ambient=torch.full((batch, 3), ambient),
        directions=torch.tensor([0.0, 0.0, -1.0]).expand(batch, 1, 3),
        colors=torch.full((batch, 1, 3), 1 - ambient),
        specular=torch.zeros(batch),
        shininess=torch.full((batch,), 16.0),
    )


def leaves(R, t, K, models, dtype=torch.float32):
    """Fresh tensors that require gradients: R, t, K, vertices, colors."""
    K = K.expand(len(R), 3, 3) if K.ndim == 2 else K
    every = (R, t, K, models.vertices, models.colors)
    return [x.detach().to(dtype).clone().requires_grad_() for x in every]


def run(models, size, R, t, K, backend, *, seed=3, **more):
    """Rendering, and per output the gradients of a random linear loss to every leaf."""
    dtype = models.dtype
    xs = leaves(R, t, K, models, dtype)
    R, t, K, vertices, colors = xs
    out = render(R, t, K, models, size, backend=backend, vertices=vertices, colors=colors, **more)
    grads = {}
    for name in ("rgb", "depth_m", "soft_mask"):
        value = getattr(out, name)
        weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)).to(value)
        if value.requires_grad:
            g = torch.autograd.grad(value, xs, weight, retain_graph=True, allow_unused=True)
            grads[name] = dict(zip(("R", "t", "K", "vertices", "colors"), g))
    return out, grads


def relative(a, b):
    """||a - b|| / ||b||, 0 when both vanish."""
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


@pytest.fixture(scope="session")
def kit():
    return SimpleNamespace(
        object_model=object_model,
        random_mesh=random_mesh,
        sphere=bumpy_sphere,
        camera=camera,
        poses=poses,
        headlight=headlight,
        leaves=leaves,
        run=run,
        relative=relative,
        pack=pack_models,
    )
