"""Numba kernels of the `cpu` backend: projection, sorting into bands, visibility.

Each image is cut into bands of rows; a band is the unit of work, and nothing is shared between
bands, so results do not depend on the number of threads. Arithmetic is float64. Edge functions
A x + B y + C negate exactly when an edge is walked the other way, so neighbouring faces leave no
cracks. Indices are unsigned where it matters: numba then leaves out the wrap-around of negative
ones, and the compiler can use vector instructions.
"""

from __future__ import annotations

import math

import numpy as np

from self6d.numba_tools import LANES, inner, jit, u64
from self6d.rendering.cpu.lanes import PIXELS, keep_nearest

BAND = 32  # rows
# rows of per-pixel buffers are padded by LANES, so that vector loops need no remainder


@jit
def prepare(vertices, faces, R, t, K, near, box_x, box_y, height, width):
    """Project one item, find the pixels of its faces and sort these into bands.

    Args:
        vertices: (V, 3). faces: (F, 3). box_x, box_y: how far the soft mask reaches from a face's
            box, pixels; negative: there is none.

    Returns:
        cam (V, 3), camera frame. pix (V, 3): x, y in pixels and 1 / z, or 0 nearer than `near`.
        boxes (F, 8) int32: left, right, top, bottom (inclusive; empty if left > right or
        top > bottom) of the pixel centres in the face's box, then of those the soft mask reaches.
        starts (bands + 1,), entries (N,): the faces that touch band k, in rising order, are
        entries[starts[k]:starts[k + 1]].
    """
    cam = np.empty((len(vertices), 3), np.float64)
    pix = np.zeros((len(vertices), 3), np.float64)
    fx, skew, cx = np.float64(K[0, 0]), np.float64(K[0, 1]), np.float64(K[0, 2])
    fy, cy = np.float64(K[1, 1]), np.float64(K[1, 2])
    M, d = R.astype(np.float64), t.astype(np.float64)
    if not math.isfinite(M.sum() + d.sum() + fx + skew + cx + fy + cy):
        near = np.inf  # a broken pose draws nothing
    for n in range(len(vertices)):
        i = u64(n)
        vx, vy, vz = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = M[0, 0] * vx + M[0, 1] * vy + M[0, 2] * vz + d[0]
        y = M[1, 0] * vx + M[1, 1] * vy + M[1, 2] * vz + d[1]
        z = M[2, 0] * vx + M[2, 1] * vy + M[2, 2] * vz + d[2]
        cam[i, 0], cam[i, 1], cam[i, 2] = x, y, z
        if z >= near:
            inverse = 1.0 / z
            pix[i, 0] = (fx * x + skew * y) * inverse + cx
            pix[i, 1] = fy * y * inverse + cy
            pix[i, 2] = inverse

    bands = (height + BAND - 1) // BAND
    # no arrays go to functions in the loops over faces: counting their references costs more than
    # the work
    boxes = np.empty((len(faces), 8), np.int32)
    starts = np.zeros(bands + 1, np.int64)
    for n in range(len(faces)):
        f = u64(n)
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        x0, x1 = min(pix[i, 0], pix[j, 0], pix[k, 0]), max(pix[i, 0], pix[j, 0], pix[k, 0])
        y0, y1 = min(pix[i, 1], pix[j, 1], pix[k, 1]), max(pix[i, 1], pix[j, 1], pix[k, 1])
        soft = box_x >= 0
        if pix[i, 2] == 0 or pix[j, 2] == 0 or pix[k, 2] == 0:
            x0, x1, y0, y1 = bounds_crossing(cam, pix, i, j, k, K, near)
            soft = False
        hard = centres(x0, x1, y0, y1, height, width)
        wide = reached(x0 - box_x, x1 + box_x, y0 - box_y, y1 + box_y, soft, height, width)
        low, high = bands_of(hard, wide)
        boxes[f, 0], boxes[f, 1], boxes[f, 2], boxes[f, 3] = hard
        boxes[f, 4], boxes[f, 5], boxes[f, 6], boxes[f, 7] = wide
        for band in range(low, high + 1):
            starts[u64(band + 1)] += 1
    for band in range(bands):
        starts[band + 1] += starts[band]
    entries = np.empty(starts[bands], np.int32)
    fill = starts[:-1].copy()
    for n in range(len(faces)):
        f = u64(n)
        hard = boxes[f, 0], boxes[f, 1], boxes[f, 2], boxes[f, 3]
        wide = boxes[f, 4], boxes[f, 5], boxes[f, 6], boxes[f, 7]
        low, high = bands_of(hard, wide)
        for band in range(low, high + 1):
            k = u64(band)
            entries[u64(fill[k])] = n
            fill[k] += 1
    return cam, pix, boxes, starts, entries


@inner
def centres(x0, x1, y0, y1, height, width):
    """Pixels of an image whose centre is in a box: left, right, top, bottom, inclusive; int32."""
    return (
        np.int32(math.ceil(min(max(x0 - 0.5, 0.0), float(width)))),
        np.int32(math.floor(max(min(x1 - 0.5, width - 1.0), -1.0))),
        np.int32(math.ceil(min(max(y0 - 0.5, 0.0), float(height)))),
        np.int32(math.floor(max(min(y1 - 0.5, height - 1.0), -1.0))),
    )


@inner
def reached(x0, x1, y0, y1, soft, height, width):
    """As `centres`, with x0 <= column + 0.5 < x1 and y0 < row + 0.5 <= y1: kaolin's half-open box,
    its y axis being up. Empty if not soft."""
    if not soft:
        return np.int32(width), np.int32(-1), np.int32(height), np.int32(-1)
    return (
        np.int32(math.ceil(min(max(x0 - 0.5, 0.0), float(width)))),
        np.int32(math.ceil(max(min(x1 - 0.5, float(width)), 0.0)) - 1),
        np.int32(math.floor(min(max(y0 - 0.5, -1.0), float(height))) + 1),
        np.int32(math.floor(max(min(y1 - 0.5, height - 1.0), -1.0))),
    )


@inner
def bands_of(hard, wide):
    """First and last band of a face's two boxes; the last is before the first if both are empty."""
    top, bottom = hard[2], hard[3]
    if hard[0] > hard[1] or top > bottom:
        top, bottom = wide[2], wide[3]
        if wide[0] > wide[1] or top > bottom:
            return np.int32(1), np.int32(0)
    elif wide[0] <= wide[1] and wide[2] <= wide[3]:
        top, bottom = min(top, wide[2]), max(bottom, wide[3])
    return np.int32(top // BAND), np.int32(bottom // BAND)


@jit
def bounds_crossing(cam, pix, i, j, k, K, near):
    """Box of the part of a face beyond the near plane, x0, x1, y0, y1, pixels; empty if none is."""
    x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
    for a, b in ((i, j), (j, k), (k, i)):
        if pix[a, 2] > 0:
            x0, x1 = min(x0, pix[a, 0]), max(x1, pix[a, 0])
            y0, y1 = min(y0, pix[a, 1]), max(y1, pix[a, 1])
        if (pix[a, 2] > 0) != (pix[b, 2] > 0):
            s = (near - cam[a, 2]) / (cam[b, 2] - cam[a, 2])
            x = cam[a, 0] + s * (cam[b, 0] - cam[a, 0])
            y = cam[a, 1] + s * (cam[b, 1] - cam[a, 1])
            u = (K[0, 0] * x + K[0, 1] * y) / near + K[0, 2]
            v = K[1, 1] * y / near + K[1, 2]
            x0, x1, y0, y1 = min(x0, u), max(x1, u), min(y0, v), max(y1, v)
    return x0, x1, y0, y1


@inner
def edges(pix, i, j, k):
    """Edge functions of a projected face, positive inside: A, B, C of three edges, 1 / (2 area)."""
    x0, y0, x1, y1, x2, y2 = pix[i, 0], pix[i, 1], pix[j, 0], pix[j, 1], pix[k, 0], pix[k, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    s = -1.0 if area < 0 else 1.0
    inverse = 1.0 / (s * area) if area != 0 else 0.0
    return (
        s * (y1 - y2), s * (x2 - x1), s * (x1 * y2 - x2 * y1),
        s * (y2 - y0), s * (x0 - x2), s * (x2 * y0 - x0 * y2),
        s * (y0 - y1), s * (x1 - x0), s * (x0 * y1 - x1 * y0),
        inverse,
    )  # fmt: skip


@inner
def edge_planes(cam, i, j, k):
    """Planes through the camera's centre and the edges (9 numbers), divided by the determinant.

    Their values on a ray with unit z are barycentrics / depth. All 0 for a face seen edge-on.
    """
    ax, ay, az = cam[i, 0], cam[i, 1], cam[i, 2]
    bx, by, bz = cam[j, 0], cam[j, 1], cam[j, 2]
    cx, cy, cz = cam[k, 0], cam[k, 1], cam[k, 2]
    px, py, pz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    qx, qy, qz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    det = ax * px + ay * py + az * pz
    s = 1.0 / det if det != 0 else 0.0
    return s * px, s * py, s * pz, s * qx, s * qy, s * qz, s * rx, s * ry, s * rz


@inner
def screen_barycentrics(cam, pix, K, i, j, k):
    """Barycentrics / depth as linear functions of the pixel: A, B, C for each corner (9 numbers).

    At a pixel centre (x, y), w_n = A_n x + B_n y + C_n; depth = 1 / (w_0 + w_1 + w_2) and the
    perspective-correct barycentrics are w_n depth.
    """
    if pix[i, 2] > 0 and pix[j, 2] > 0 and pix[k, 2] > 0:
        a0, b0, c0, a1, b1, c1, a2, b2, c2, inverse = edges(pix, i, j, k)
        s0, s1, s2 = inverse * pix[i, 2], inverse * pix[j, 2], inverse * pix[k, 2]
        return s0 * a0, s0 * b0, s0 * c0, s1 * a1, s1 * b1, s1 * c1, s2 * a2, s2 * b2, s2 * c2
    px, py, pz, qx, qy, qz, rx, ry, rz = edge_planes(cam, i, j, k)
    a0, b0, c0 = plane_to_pixels(px, py, pz, K)
    a1, b1, c1 = plane_to_pixels(qx, qy, qz, K)
    a2, b2, c2 = plane_to_pixels(rx, ry, rz, K)
    return a0, b0, c0, a1, b1, c1, a2, b2, c2


@inner
def plane_to_pixels(px, py, pz, K):
    """p . K^-1 (x, y, 1) as A x + B y + C."""
    a = px / K[0, 0]
    b = (py - a * K[0, 1]) / K[1, 1]
    return a, b, pz - a * K[0, 2] - b * K[1, 2]


@jit
def rasterise(cam, pix, faces, boxes, entries, K, near, row0, row1, seen, nearest):
    """Nearest face of each pixel of the rows row0 <= row < row1.

    Args:
        boxes, entries: from `prepare`, entries of this band.
        seen: (rows, W + LANES) int32, out, place in `entries` or -1. nearest: (rows, W + LANES)
            float64, out, 1 / depth.
    """
    seen[:] = -1
    nearest[:] = 0.0
    deep, face, width = nearest.ravel(), seen.ravel(), seen.shape[1]
    for n in range(len(entries)):
        f = u64(entries[u64(n)])
        left, right = int(boxes[f, 0]), int(boxes[f, 1])
        top, bottom = max(int(boxes[f, 2]), row0), min(int(boxes[f, 3]), row1 - 1)
        if left > right or top > bottom:
            continue
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        if pix[i, 2] == 0 or pix[j, 2] == 0 or pix[k, 2] == 0:
            rasterise_crossing(
                cam, i, j, k, n, K, near, left, right, top, bottom, row0, seen, nearest
            )
            continue
        a0, b0, c0, a1, b1, c1, a2, b2, c2, inverse = edges(pix, i, j, k)
        if inverse == 0:
            continue
        # 1 / z is linear in the image
        z0, z1, z2 = pix[i, 2] * inverse, pix[j, 2] * inverse, pix[k, 2] * inverse
        za, zb = a0 * z0 + a1 * z1 + a2 * z2, b0 * z0 + b1 * z1 + b2 * z2
        zc = c0 * z0 + c1 * z1 + c2 * z2
        place = np.int32(n)
        for row in range(top, bottom + 1):
            y = row + 0.5
            r0, r1, r2, zr = b0 * y + c0, b1 * y + c1, b2 * y + c2, zb * y + zc
            low, high = left, right
            if right - left > 2 * LANES:
                low, high = narrow(a0, r0, low, high)
                low, high = narrow(a1, r1, low, high)
                low, high = narrow(a2, r2, low, high)
            x, first = low + 0.5, (row - row0) * width + low
            # whole groups of lanes: edge tests fail beyond the face, and rows are padded
            for lane in range(0, high - low + 1, PIXELS):
                at, planes = u64(first + lane), (a0, r0, a1, r1, a2, r2, za, zr)
                keep_nearest(deep, face, at, x + lane, planes, place)


@inner
def narrow(a, r, low, high):
    """Columns of low..high where a (column + 0.5) + r may be >= 0, with a column to spare."""
    if a > 0:
        return math.ceil(max(-r / a - 1.5, float(low))), high
    if a < 0:
        return low, math.floor(min(-r / a + 0.5, float(high)))
    return low, high


@jit
def rasterise_crossing(cam, i, j, k, place, K, near, left, right, top, bottom, row0, seen, nearest):
    """`rasterise` for a face that crosses the near plane, in homogeneous coordinates."""
    px, py, pz, qx, qy, qz, rx, ry, rz = edge_planes(cam, i, j, k)
    for row in range(top, bottom + 1):
        dy = (row + 0.5 - K[1, 2]) / K[1, 1]
        for column in range(left, right + 1):
            dx = (column + 0.5 - K[0, 2] - K[0, 1] * dy) / K[0, 0]
            w0, w1, w2 = px * dx + py * dy + pz, qx * dx + qy * dy + qz, rx * dx + ry * dy + rz
            inverse_z = w0 + w1 + w2
            inside = w0 >= 0 and w1 >= 0 and w2 >= 0 and inverse_z * near <= 1
            if inside and inverse_z > nearest[row - row0, column]:
                nearest[row - row0, column] = inverse_z
                seen[row - row0, column] = place
