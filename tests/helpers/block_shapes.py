"""Small coloured models that tell front from back."""

import numpy as np

from self6d.scene import ObjectModel

FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]], np.int32
)  # fmt: skip


def block(half=0.05, centre=(0.0, 0.0, 0.0), n=8):
    """A brick of sides 2 : 3 : 4 (half the longest = `half`) with a different colour on each face.

    Each face is an n x n grid, so that colours can vary over it.
    """
    sides = half * np.array([0.5, 0.75, 1.0])
    vertices, faces, colors = [], [], []
    grid = np.linspace(-1, 1, n + 1)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    for axis in range(3):
        for sign in (-1, 1):
            points = np.zeros((u.size, 3))
            points[:, axis], points[:, axis - 2], points[:, axis - 1] = sign, u.ravel(), v.ravel()
            base = np.eye(3)[axis] if sign > 0 else 1 - np.eye(3)[axis]
            wave = 0.15 * np.sin(3 * u.ravel() + axis) * np.cos(2 * v.ravel() - sign)
            start = len(vertices) * u.size
            index = start + np.arange(u.size).reshape(u.shape)
            a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
            quads = [np.stack((a, b, c), -1), np.stack((a, c, d), -1)]
            faces += [q.reshape(-1, 3)[:, ::sign] for q in quads]
            vertices.append(points * sides + centre)
            colors.append(np.clip(0.8 * base + 0.1 + wave[:, None], 0, 1))
    corners = np.concatenate(vertices).astype(np.float32)
    return ObjectModel(
        1,
        "block",
        corners,
        np.concatenate(faces).astype(np.int32),
        np.concatenate(colors).astype(np.float32),
        float(2 * np.linalg.norm(sides)),
    )
