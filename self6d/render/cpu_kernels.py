"""Numba kernels of the `cpu` backend: geometry, visibility, shading, soft mask.

Each image is cut into bands of rows; a band is the unit of work, and nothing is shared between
bands, so results do not depend on the number of threads. All arithmetic is float64, which costs
nothing in scalar code. Edge functions A x + B y + C negate exactly when an edge is walked the other
way, so neighbouring faces leave no cracks.
"""

from __future__ import annotations

import math

import numba
import numpy as np

jit = numba.njit(nogil=True, cache=True, error_model="numpy")
inline = numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")

BAND = 16  # rows
FLOOR = 1e-12  # as in the reference


@jit
def prepare(vertices, faces, R, t, K, near, box_x, box_y, height, width):
    """Project one item and sort its faces into bands.

    Args:
        vertices: (V, 3). faces: (F, 3). box_x, box_y: enlargement of the faces' boxes, pixels.

    Returns:
        cam (V, 3), camera frame. pix (V, 3): x, y in pixels and 1 / z, or 0 nearer than `near`.
        starts (bands + 1,), entries (N,): the faces that touch band k, in rising order, are
        entries[starts[k]:starts[k + 1]].
    """
    cam = np.empty((len(vertices), 3), np.float64)
    pix = np.empty((len(vertices), 3), np.float64)
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for k in range(3):
            cam[i, k] = (
                np.float64(R[k, 0]) * x + np.float64(R[k, 1]) * y + np.float64(R[k, 2]) * z + t[k]
            )
        if cam[i, 2] >= near:
            pix[i, 2] = 1.0 / cam[i, 2]
            pix[i, 0] = (K[0, 0] * cam[i, 0] + K[0, 1] * cam[i, 1]) * pix[i, 2] + K[0, 2]
            pix[i, 1] = K[1, 1] * cam[i, 1] * pix[i, 2] + K[1, 2]
        else:
            pix[i] = 0.0

    bands = (height + BAND - 1) // BAND
    first = np.empty(len(faces), np.int16)
    last = np.empty(len(faces), np.int16)
    starts = np.zeros(bands + 1, np.int64)
    for f in range(len(faces)):
        x0, x1, y0, y1 = bounds(cam, pix, faces[f, 0], faces[f, 1], faces[f, 2], K, near)
        first[f], last[f] = 1, 0
        # false for NaN, so a broken pose draws nothing
        if x1 + box_x >= 0 and x0 - box_x <= width and y1 + box_y >= 0 and y0 - box_y <= height:
            low = max(y0 - box_y - 0.5, 0.0)
            high = min(y1 + box_y - 0.5, height - 1.0)
            if math.ceil(low) <= math.floor(high):
                first[f] = int(math.ceil(low)) // BAND
                last[f] = int(math.floor(high)) // BAND
                for k in range(first[f], last[f] + 1):
                    starts[k + 1] += 1
    for k in range(bands):
        starts[k + 1] += starts[k]
    entries = np.empty(starts[bands], np.int32)
    fill = starts[:-1].copy()
    for f in range(len(faces)):
        for k in range(first[f], last[f] + 1):
            entries[fill[k]] = f
            fill[k] += 1
    return cam, pix, starts, entries


@jit
def bounds(cam, pix, i, j, k, K, near):
    """Box of the part of a face beyond the near plane, x0, x1, y0, y1, pixels; NaN if none is."""
    if pix[i, 2] > 0 and pix[j, 2] > 0 and pix[k, 2] > 0:
        return (
            min(pix[i, 0], pix[j, 0], pix[k, 0]),
            max(pix[i, 0], pix[j, 0], pix[k, 0]),
            min(pix[i, 1], pix[j, 1], pix[k, 1]),
            max(pix[i, 1], pix[j, 1], pix[k, 1]),
        )
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


@jit
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


@jit
def edge_planes(cam, i, j, k):
    """Planes through the camera's centre and the edges (9 numbers), and the determinant."""
    ax, ay, az = cam[i, 0], cam[i, 1], cam[i, 2]
    bx, by, bz = cam[j, 0], cam[j, 1], cam[j, 2]
    cx, cy, cz = cam[k, 0], cam[k, 1], cam[k, 2]
    px, py, pz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    qx, qy, qz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return px, py, pz, qx, qy, qz, rx, ry, rz, ax * px + ay * py + az * pz


@jit
def barycentrics(cam, pix, i, j, k, x, y, dx, dy):
    """Perspective-correct barycentrics and depth of a covered pixel (x, y) with ray (dx, dy, 1)."""
    if pix[i, 2] > 0 and pix[j, 2] > 0 and pix[k, 2] > 0:
        a0, b0, c0, a1, b1, c1, a2, b2, c2, inverse = edges(pix, i, j, k)
        w0 = (a0 * x + (b0 * y + c0)) * inverse * pix[i, 2]
        w1 = (a1 * x + (b1 * y + c1)) * inverse * pix[j, 2]
        w2 = (a2 * x + (b2 * y + c2)) * inverse * pix[k, 2]
        z = 1.0 / (w0 + w1 + w2)
        return w0 * z, w1 * z, w2 * z, z
    px, py, pz, qx, qy, qz, rx, ry, rz, det = edge_planes(cam, i, j, k)
    w0, w1, w2 = px * dx + py * dy + pz, qx * dx + qy * dy + qz, rx * dx + ry * dy + rz
    total = 1.0 / (w0 + w1 + w2)
    return w0 * total, w1 * total, w2 * total, det * total


@jit
def rasterise(cam, pix, faces, entries, K, near, row0, row1, width, face_id, nearest):
    """Nearest face of each pixel of the rows row0 <= row < row1.

    Args:
        face_id: (rows, W) int32, out. nearest: (rows, W) float64, scratch, 1 / depth.
    """
    face_id[:] = -1
    nearest[:] = 0.0
    for n in range(len(entries)):
        f = entries[n]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, x1, y0, y1 = bounds(cam, pix, i, j, k, K, near)
        left = int(math.ceil(max(x0 - 0.5, 0.0)))
        right = int(math.floor(min(x1 - 0.5, width - 1.0)))
        top = int(math.ceil(max(y0 - 0.5, row0)))
        bottom = int(math.floor(min(y1 - 0.5, row1 - 1.0)))
        if left > right or top > bottom:
            continue
        if pix[i, 2] > 0 and pix[j, 2] > 0 and pix[k, 2] > 0:
            a0, b0, c0, a1, b1, c1, a2, b2, c2, inverse = edges(pix, i, j, k)
            if inverse == 0:
                continue
            z0, z1, z2 = pix[i, 2] * inverse, pix[j, 2] * inverse, pix[k, 2] * inverse
            for row in range(top, bottom + 1):
                y = row + 0.5
                r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
                for column in range(left, right + 1):
                    x = column + 0.5
                    w0, w1, w2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                    if w0 >= 0 and w1 >= 0 and w2 >= 0:
                        inverse_z = w0 * z0 + w1 * z1 + w2 * z2
                        if inverse_z > nearest[row - row0, column]:
                            nearest[row - row0, column] = inverse_z
                            face_id[row - row0, column] = f
        else:
            px, py, pz, qx, qy, qz, rx, ry, rz, det = edge_planes(cam, i, j, k)
            if det == 0:
                continue
            for row in range(top, bottom + 1):
                dy = (row + 0.5 - K[1, 2]) / K[1, 1]
                for column in range(left, right + 1):
                    dx = (column + 0.5 - K[0, 2] - K[0, 1] * dy) / K[0, 0]
                    w0 = (px * dx + py * dy + pz) / det
                    w1 = (qx * dx + qy * dy + qz) / det
                    w2 = (rx * dx + ry * dy + rz) / det
                    inverse_z = w0 + w1 + w2
                    if w0 >= 0 and w1 >= 0 and w2 >= 0 and inverse_z * near <= 1:
                        if inverse_z > nearest[row - row0, column]:
                            nearest[row - row0, column] = inverse_z
                            face_id[row - row0, column] = f


@jit
def count_uncovered(face_id, total):
    """Summed-area table of uncovered pixels: total[r, c] counts those in rows < r, columns < c."""
    rows, width = face_id.shape
    total[0] = 0
    for r in range(rows):
        run = 0
        total[r + 1, 0] = 0
        for c in range(width):
            run += 1 if face_id[r, c] < 0 else 0
            total[r + 1, c + 1] = total[r, c + 1] + run
    return total[rows, width]


@jit
def soft_box(pix, i, j, k, box_x, box_y, row0, row1, width):
    """Pixels whose centre is in a face's enlarged box: left, right, top, bottom (inclusive)."""
    if pix[i, 2] == 0 or pix[j, 2] == 0 or pix[k, 2] == 0:
        return 0, -1, 0, -1
    x0 = min(pix[i, 0], pix[j, 0], pix[k, 0]) - box_x - 0.5
    x1 = max(pix[i, 0], pix[j, 0], pix[k, 0]) + box_x - 0.5
    y0 = min(pix[i, 1], pix[j, 1], pix[k, 1]) - box_y - 0.5
    y1 = max(pix[i, 1], pix[j, 1], pix[k, 1]) + box_y - 0.5
    # x0 <= column < x1 and y0 < row <= y1: kaolin's half-open box, its y axis being up
    left = int(math.ceil(max(x0, 0.0)))
    right = int(math.ceil(min(x1, float(width)))) - 1
    top = int(math.floor(max(y0, row0 - 1.0))) + 1
    bottom = int(math.floor(min(y1, row1 - 1.0)))
    return left, right, top, bottom


@jit
def segment(px, py, ax, ay, ux, uy, inverse):
    """Squared distance to the segment a + s u and s in [0, 1]; inverse = 1 / |u|^2."""
    s = min(max(((px - ax) * ux + (py - ay) * uy) * inverse, 0.0), 1.0)
    dx, dy = px - ax - s * ux, py - ay - s * uy
    return dx * dx + dy * dy, s


@jit
def scaled_corners(pix, i, j, k, sx, sy):
    """Corners and edges of a face in image units: ax, ay, ux, uy, 1 / |u|^2 of each edge."""
    x0, y0 = pix[i, 0] * sx, pix[i, 1] * sy
    x1, y1 = pix[j, 0] * sx, pix[j, 1] * sy
    x2, y2 = pix[k, 0] * sx, pix[k, 1] * sy
    ux, uy, vx, vy, wx, wy = x1 - x0, y1 - y0, x2 - x1, y2 - y1, x0 - x2, y0 - y2
    return (
        x0, y0, ux, uy, 1.0 / max(ux * ux + uy * uy, 1e-30),
        x1, y1, vx, vy, 1.0 / max(vx * vx + vy * vy, 1e-30),
        x2, y2, wx, wy, 1.0 / max(wx * wx + wy * wy, 1e-30),
    )  # fmt: skip


@jit
def hit_probability(x):
    """exp(-x) and 1 - exp(-x) for x >= 0, the latter never 0."""
    x = max(x, FLOOR)
    p = math.exp(-x)
    return p, (x - 0.5 * x * x) if x < 1e-4 else 1.0 - p


@jit
def soften(
    pix, faces, entries, sigma_inv, box_x, box_y, row0, row1, height, width, face_id, total, free
):
    """Product over faces of (1 - probability), for the uncovered pixels of a band.

    Args:
        face_id: (rows, W). total: (rows + 1, W + 1), scratch. free: (rows, W) float32, out: the
            product; 0 where covered.
    """
    rows = row1 - row0
    for r in range(rows):
        for c in range(width):
            free[r, c] = 1.0 if face_id[r, c] < 0 else 0.0
    if count_uncovered(face_id, total) == 0:
        return
    sx, sy = 2.0 / width, 2.0 / height
    for n in range(len(entries)):
        f = entries[n]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        left, right, top, bottom = soft_box(pix, i, j, k, box_x, box_y, row0, row1, width)
        if left > right or top > bottom:
            continue
        lo, hi = top - row0, bottom - row0 + 1
        if total[hi, right + 1] - total[lo, right + 1] - total[hi, left] + total[lo, left] == 0:
            continue
        x0, y0, ux, uy, iu, x1, y1, vx, vy, iv, x2, y2, wx, wy, iw = scaled_corners(
            pix, i, j, k, sx, sy
        )
        for row in range(top, bottom + 1):
            py = (row + 0.5) * sy
            for column in range(left, right + 1):
                if face_id[row - row0, column] < 0:
                    px = (column + 0.5) * sx
                    d0, _ = segment(px, py, x0, y0, ux, uy, iu)
                    d1, _ = segment(px, py, x1, y1, vx, vy, iv)
                    d2, _ = segment(px, py, x2, y2, wx, wy, iw)
                    _, miss = hit_probability(min(d0, d1, d2) * sigma_inv)
                    free[row - row0, column] *= miss
