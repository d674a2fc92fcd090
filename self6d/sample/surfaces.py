"""What the surfaces of the sample's world look like: table, room, patterns, dirt and labels.

Colours are linear albedo in [0, 1]; lengths are metres.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

FAST: dict[str, Any] = {
    "cache": True, "nogil": True, "error_model": "numpy",
    "fastmath": {"contract", "nsz"},  # as `numba_tools.vector`
}  # fmt: skip
TABLE_HALF = (0.85, 0.62)  # metres, half sides of the table top
FLOOR_Z = -0.74
ROOM_HALF = 2.3

# columns of a material row
KIND, GLOSS, SHINE, DIRT, LABEL, SCALE = range(6)
# patterns a material may carry over its vertex colours
PLAIN, STRIPES, CHECKER, MOTTLED, PRINT = range(5)

_I, _J, _K = np.uint32(374761393), np.uint32(668265263), np.uint32(2246822519)


@njit(**FAST)
def _mix(h):
    """A 32-bit number scrambled, as a fraction."""
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    h = np.uint32((h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39))
    return np.uint32(h ^ (h >> np.uint32(15))) * 2.3283064365386963e-10


@njit(**FAST)
def _hash(i, j, k):
    """A fraction for a lattice point, always the same."""
    return _mix(np.uint32(np.uint32(i) * _I + np.uint32(j) * _J + np.uint32(k) * _K))


@njit(**FAST)
def _noise(x, y, z):
    """Value noise in [0, 1], one octave."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    h = np.uint32(np.uint32(i) * _I + np.uint32(j) * _J + np.uint32(k) * _K)
    a, b = _mix(h), _mix(np.uint32(h + _I))
    c, d = _mix(np.uint32(h + _J)), _mix(np.uint32(h + _I + _J))
    near = a + u * (b - a) + v * (c + u * (d - c) - a - u * (b - a))
    h = np.uint32(h + _K)
    a, b = _mix(h), _mix(np.uint32(h + _I))
    c, d = _mix(np.uint32(h + _J)), _mix(np.uint32(h + _I + _J))
    far = a + u * (b - a) + v * (c + u * (d - c) - a - u * (b - a))
    return near + w * (far - near)


@njit(**FAST, forceinline=True)
def environment(dx, dy, dz):
    """Brightness of the room in a direction: a bright window, dark and light patches of wall."""
    window = math.exp(-30 * max(0.0, abs(dx - 0.62) - 0.13)) * math.exp(
        -30 * max(0.0, abs(dz - 0.45) - 0.2)
    )
    wall = 0.25 + 0.5 * _noise(3.1 * dx, 3.1 * dy, 3.1 * dz)
    return wall * (0.35 + 0.4 * max(dz, 0.0)) + (1.6 * window if dy > -0.2 else 0.0)


@njit(**FAST, forceinline=True)
def table_albedo(x, y, style, out):
    """Albedo of the table covering."""
    kind = int(style[0])
    if kind == 0:  # wood
        ring = 14 * y + 2.2 * _noise(2.5 * x, 9 * y, 3.0) + 0.6 * _noise(14 * x, 60 * y, 7.0)
        t = 0.5 + 0.5 * math.sin(6.2832 * ring * 0.6)
        fine = _noise(40 * x, 420 * y, 1.0)
        t = 0.75 * t + 0.25 * fine
    elif kind == 1:  # checked cloth
        a = 1.0 if math.floor(x / 0.045) % 2 == 0 else 0.0
        b = 1.0 if math.floor(y / 0.045) % 2 == 0 else 0.0
        t = 0.5 * (a + b) * (0.85 + 0.3 * _noise(700 * x, 700 * y, 2.0))
    elif kind == 2:  # speckled worktop
        t = 0.35 + 0.3 * _noise(9 * x, 9 * y, 5.0)
        if _noise(260 * x, 260 * y, 4.0) > 0.72:
            t = 1.0
        elif _noise(190 * x, 190 * y, 8.0) > 0.76:
            t = -0.5
    else:  # cutting mat with a printed grid
        t = 0.1 * _noise(30 * x, 30 * y, 1.0)
        gx, gy = abs(x / 0.05 - round(x / 0.05)), abs(y / 0.05 - round(y / 0.05))
        if gx < 0.02 or gy < 0.02:
            t = 0.9
    t = min(max(t, 0.0), 1.0)
    for c in range(3):
        out[c] = style[1 + c] * (1 - t) + style[4 + c] * t


@njit(**FAST, forceinline=True)
def room_albedo(p, on_floor, out):
    """Albedo of the floor or of a wall at p."""
    if on_floor:
        t = 0.3 + 0.3 * _noise(5 * p[0], 40 * p[1], 1.0)
        out[0], out[1], out[2] = 0.42 * t, 0.34 * t, 0.28 * t
        return
    along = p[0] if abs(p[1]) > abs(p[0]) else p[1]
    out[0], out[1], out[2] = 0.55, 0.53, 0.47
    cell, row = math.floor(along / 0.7), math.floor((p[2] + 0.74) / 0.55)
    k = int(cell * 31 + row * 17 + (7 if p[0] + p[1] > 0 else 0))
    u, v = along / 0.7 - cell, (p[2] + 0.74) / 0.55 - row
    if _hash(k, 1, 2) > 0.45 and 0.12 < u < 0.88 and 0.1 < v < 0.9:  # shelves, posters, cupboards
        for c in range(3):
            n = _noise(9 * u + k, 9 * v, 0.4 * c + 3.0 * k)
            out[c] = (0.05 + 0.3 * _hash(k, 3, 5) + 0.2 * _hash(k, 3, c)) * (0.4 + n)


@njit(**FAST, forceinline=True)
def paint(obj, m, materials, accent, label_frame, label_image, albedo):
    """Pattern, dirt and label of a material at the object-frame point `obj`, onto `albedo`."""
    kind, scale = int(materials[m, KIND]), materials[m, SCALE]
    x, y, z = obj[0] * scale, obj[1] * scale, obj[2] * scale
    mix = 0.0
    if kind == STRIPES:
        mix = 1.0 if math.floor(x + 0.6 * z) % 2 == 0 else 0.0
    elif kind == CHECKER:
        mix = 1.0 if (math.floor(x) + math.floor(y) + math.floor(z)) % 2 == 0 else 0.0
    elif kind == MOTTLED:
        mix = _noise(x, y, z)
        mix = mix * mix * (3 - 2 * mix)
    elif kind == PRINT:  # blocks of print on a packet
        cell = _hash(math.floor(x), math.floor(y * 2), math.floor(z))
        mix = cell if cell > 0.5 else 0.0
    for c in range(3):
        albedo[c] += (accent[m, c] - albedo[c]) * mix
    dirt = materials[m, DIRT]
    if dirt > 0:
        smear = _noise(obj[0] * 45, obj[1] * 45, obj[2] * 45)
        grain = _noise(obj[0] * 260, obj[1] * 260, obj[2] * 260)
        k = dirt * max(0.0, smear - 0.45) * (0.6 + 0.8 * grain)
        for c in range(3):
            albedo[c] = albedo[c] * (1 - k) + 0.11 * k
    which = int(materials[m, LABEL])
    if which < 0:
        return
    u, v, out = 0.0, 0.0, 0.0
    for a in range(3):
        d = obj[a] - label_frame[m, 0, a]
        u += d * label_frame[m, 1, a]
        v += d * label_frame[m, 2, a]
        out += d * label_frame[m, 3, a]
    if abs(u) < 1 and abs(v) < 1 and abs(out) < 0.016:
        h, w = label_image.shape[1], label_image.shape[2]
        i, j = int((0.5 - 0.5 * v) * h), int((0.5 + 0.5 * u) * w)
        alpha = label_image[which, min(i, h - 1), min(j, w - 1), 3]
        for c in range(3):
            ink = label_image[which, min(i, h - 1), min(j, w - 1), c]
            albedo[c] = albedo[c] * (1 - alpha) + ink * alpha
