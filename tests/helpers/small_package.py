"""The images and the camera that the package of `tests/packaging` is made for."""

from __future__ import annotations

import numpy as np

SIZE = (96, 128)
K = np.array([[110.0, 0, 63.5], [0, 112, 47.5], [0, 0, 1]])
