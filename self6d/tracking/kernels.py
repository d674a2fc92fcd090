"""The compiled loop that holds surface points against an image."""

from __future__ import annotations

import math

import numpy as np

from self6d.numba_tools import jit

GOES_ON = 0.4  # what it costs where the surface goes on at all of them
SHAPE = 0.4  # what a point of the right depth is worth whatever its colour: paint differs from CAD


@jit
def project(xs, ys, zs, n, M, d, K, h, w, z, at):
    """Where n points are in an image, all of them alike, so that several are made at once.

    Args:
        xs, ys, zs: (n,) float32, metres, model frame. M, d: pose. K: pixels.
        z: (n,) float32, out, metres, camera frame. at: (n,) int32, out, row w + column of the pixel
            each is seen in; -1 behind the camera and beside the image.
    """
    fx, skew, cx, fy, cy = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]
    m00, m01, m02, m10, m11, m12 = M[0, 0], M[0, 1], M[0, 2], M[1, 0], M[1, 1], M[1, 2]
    m20, m21, m22, d0, d1, d2 = M[2, 0], M[2, 1], M[2, 2], d[0], d[1], d[2]
    zero, last_u, last_v = np.float32(0), np.float32(w), np.float32(h)
    nearest, step, none = np.float32(0.01), np.int32(w), np.int32(-1)
    for j in range(n):
        px = m00 * xs[j] + m01 * ys[j] + m02 * zs[j] + d0
        py = m10 * xs[j] + m11 * ys[j] + m12 * zs[j] + d1
        pz = m20 * xs[j] + m21 * ys[j] + m22 * zs[j] + d2
        u = (fx * px + skew * py) / pz + cx
        v = fy * py / pz + cy
        inside = (pz >= nearest) & (u >= zero) & (v >= zero) & (u < last_u) & (v < last_v)
        u, v = (u if inside else zero), (v if inside else zero)
        place = np.int32(v) * step + np.int32(u)
        z[j], at[j] = pz, (place if inside else none)


@jit
def score_kernel(
    points, ab, directions, seen, rim, beyond, centre, n,
    depth, image_ab, K, R, t, margin, scale, out,
):  # fmt: skip
    """`points.score_poses` of N poses into `out` (N,); arrays of ModelPoints and View."""
    h, w = depth.shape
    flat, painted, beside_n = depth.ravel(), image_ab.reshape(h * w, 2), rim.shape[1]
    most = max(n, beside_n)
    z, at = np.empty(most, np.float32), np.empty(most, np.int32)
    xs, ys, zs = (points[:n, 0].copy(), points[:n, 1].copy(), points[:n, 2].copy())
    rx, ry, rz = np.empty((3, beside_n), np.float32)
    for i in range(len(R)):
        M, d = R[i], t[i]
        ox = M[0, 0] * centre[0] + M[0, 1] * centre[1] + M[0, 2] * centre[2] + d[0]
        oy = M[1, 0] * centre[0] + M[1, 1] * centre[1] + M[1, 2] * centre[2] + d[1]
        oz = M[2, 0] * centre[0] + M[2, 1] * centre[1] + M[2, 2] * centre[2] + d[2]
        if oz < 0.02:
            out[i] = -1.0
            continue
        # the camera as the model sees it
        vx = -(M[0, 0] * ox + M[1, 0] * oy + M[2, 0] * oz)
        vy = -(M[0, 1] * ox + M[1, 1] * oy + M[2, 1] * oz)
        vz = -(M[0, 2] * ox + M[1, 2] * oy + M[2, 2] * oz)
        best, side = -1e30, 0
        for k in range(len(directions)):
            along = directions[k, 0] * vx + directions[k, 1] * vy + directions[k, 2] * vz
            if along > best:
                best, side = along, k
        total, count = 0.0, 0
        project(xs, ys, zs, n, M, d, K, h, w, z, at)
        for j in range(n):
            if not seen[side, j]:
                continue
            count += 1
            if at[j] < 0:
                continue
            sensor = flat[at[j]]
            if sensor <= 0.0:
                continue
            gap = (sensor - z[j]) / margin
            if gap > 2.0:  # beside an edge sensors mix both sides
                total -= min(gap - 2.0, 1.0)
            elif abs(gap) < 1.0:
                value = 1.0 - gap * gap
                if scale > 0.0:
                    apart = abs(painted[at[j], 0] - ab[j, 0])
                    apart += abs(painted[at[j], 1] - ab[j, 1])
                    value *= SHAPE + (1.0 - SHAPE) * math.exp(-apart * scale)
                total += value
        for j in range(beside_n):
            rx[j], ry[j], rz[j] = rim[side, j, 0], rim[side, j, 1], rim[side, j, 2]
        project(rx, ry, rz, beside_n, M, d, K, h, w, z, at)
        beside, on = 0, 0
        for j in range(beside_n):
            if at[j] >= 0 and flat[at[j]] > 0.0:
                beside += 1
                gap, more = flat[at[j]] - z[j], beyond[side, j]
                if min(more, 0.0) - 1.5 * margin < gap < max(more, 0.0) + 1.5 * margin:
                    on += 1
        out[i] = total / max(count, 1) - GOES_ON * on / max(beside, 1)
