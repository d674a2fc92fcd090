"""The sample's RGB-D sensor: what light and distance become on their way into files.

Colour: lens blur, motion blur, vignette, exposure and white-balance drift, photon and read noise
on a Bayer mosaic, demosaicing, cross-talk, tone curve, sharpening. Depth: bias that grows with
z^2, correlated noise, the projector's occlusion shadow, flying pixels at edges, holes on
highlights, at grazing angles and out of range, disparity steps.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from self6d.sample.surfaces import FAST

BASELINE = 0.055  # metres between the depth sensor's projector and its camera
CROSSTALK = np.array([[1.08, -0.04, -0.04], [-0.07, 1.10, -0.03], [0.02, -0.10, 1.08]])


def photograph(radiance: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Colour image of a scene.

    Args:
        radiance: (H, W, 3) float32 linear. scale: image width over 320, for blurs given in pixels.
        rng: this frame's generator.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    h, w = radiance.shape[:2]
    gain = 0.17 / float(np.median(radiance.mean(-1)) + 0.02) ** 0.8 * rng.uniform(0.85, 1.2)
    balance = np.array([1.0, 0.94, 0.90]) * rng.uniform(0.97, 1.03, 3)
    y, x = np.mgrid[0:h, 0:w]
    r2 = ((x - 0.53 * w) ** 2 + (y - 0.47 * h) ** 2) / (0.25 * (w * w + h * h))
    image = radiance * (gain * balance * (1 - 0.34 * r2[..., None])).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 0.45 * scale)
    length = min(abs(rng.normal(0, 1.4)), 3.5) * scale
    if length > 0.7:
        image = cv2.filter2D(image, -1, _motion_kernel(length, rng.uniform(0, np.pi)))
    mosaic = np.empty((h, w), np.float32)
    for (i, j), c in {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items():
        mosaic[i::2, j::2] = image[i::2, j::2, c]
    sigma = np.sqrt(0.0004 * np.clip(mosaic, 0, 1) + 0.0045**2)
    mosaic = mosaic + sigma * rng.standard_normal((h, w), np.float32)
    raw = (np.clip(mosaic, 0, 1) * 4095 + 0.5).astype(np.uint16)
    image = cv2.cvtColor(raw, cv2.COLOR_BayerBG2RGB).astype(np.float32) / 4095
    image = np.clip(image @ CROSSTALK.T.astype(np.float32), 0, None)
    image = np.clip(image * (1 + 0.25 * image) / (0.06 + 1.13 * image) * 0.92, 0, 1)
    image = image ** np.float32(1 / 1.35)
    image += 0.35 * (image - cv2.GaussianBlur(image, (0, 0), 1.0 * scale))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _motion_kernel(length: float, angle: float) -> np.ndarray:
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for s in np.linspace(-length / 2, length / 2, 25):
        x, y = half + s * np.cos(angle), half + s * np.sin(angle)
        i, j = int(y), int(x)
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(y - i - a)) * (1 - abs(x - j - b))
            if weight > 0:
                kernel[i + a, j + b] += weight
    return kernel / kernel.sum()


@njit(**FAST)
def _projector_shadow(z, focal):
    """Pixels whose surface the projector, BASELINE to the left of the camera, does not reach."""
    height, width = z.shape
    dark = np.zeros((height, width), np.bool_)
    for i in range(height):
        furthest = (
            -1e9
        )  # seen from the projector, rows keep their order unless something hides them
        for j in range(width):
            if z[i, j] > 0:
                column = j + focal * BASELINE / z[i, j]
                if column < furthest - 0.75:
                    dark[i, j] = True
                elif column > furthest:
                    furthest = column
    return dark


def measure_depth(
    z: np.ndarray, gloss: np.ndarray, facing: np.ndarray, focal: float, rng: np.random.Generator
) -> np.ndarray:
    """Depth image of a scene.

    Args:
        z: (H, W) float32, true depth, metres. gloss: (H, W) highlight strength.
        facing: (H, W) cosine between the surface normal and the view. focal: pixels.
        rng: this frame's generator.

    Returns:
        (H, W) uint16, millimetres, 0 where nothing was measured.
    """
    h, w = z.shape
    scale = w / 320
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))
    near, far = cv2.erode(z, kernel), cv2.dilate(z, kernel)
    edge = far - near > 0.02
    chance = rng.random((h, w), np.float32)
    mix = rng.random((h, w), np.float32)
    measured = np.where(edge & (chance < 0.45), near + mix * (far - near), z)
    lost = edge & (chance > 0.72)
    blob = cv2.GaussianBlur(rng.standard_normal((h, w), np.float32), (0, 0), 2.2 * scale)
    blob = blob / blob.std()
    lost |= (gloss + 0.12 * blob) > 0.85
    lost |= facing < 0.13 + 0.05 * blob
    lost |= (blob > 2.9) | (z > 2.6) | (z < 0.2)
    dark = _projector_shadow(z.astype(np.float32), focal).astype(np.uint8)
    lost |= cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).astype(bool)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    warp = np.sin(5.1 * x / w + 1.3) * np.cos(4.2 * y / h)
    measured = measured + 0.0008 + (0.0048 + 0.0015 * warp) * measured**2
    grain = cv2.GaussianBlur(rng.standard_normal((h, w), np.float32), (0, 0), 0.8 * scale)
    measured += grain / grain.std() * (0.0006 + 0.0024 * measured**2)
    steps = 8 * (640 / w) * focal * BASELINE  # an eighth of a pixel of disparity at 640 columns
    measured = steps / np.round(steps / measured)
    return np.where(lost, 0, np.round(1000 * measured)).astype(np.uint16)
