"""The compiled loop that holds surface points against an image."""

from __future__ import annotations

import math

from self6d.numba_tools import jit

GOES_ON = 0.4  # what it costs where the surface goes on at all of them
SHAPE = 0.4  # what a point of the right depth is worth whatever its colour: paint differs from CAD


@jit
def score_kernel(
    points, ab, directions, seen, rim, beyond, centre, n,
    depth, image_ab, K, R, t, margin, scale, out,
):  # fmt: skip
    """`points.score_poses` of N poses into `out` (N,); arrays of ModelPoints and View."""
    h, w = depth.shape
    fx, skew, cx, fy, cy = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]
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
        for j in range(n):
            if not seen[side, j]:
                continue
            count += 1
            x, y, z = points[j, 0], points[j, 1], points[j, 2]
            px = M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + d[0]
            py = M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + d[1]
            pz = M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + d[2]
            if pz < 0.01:
                continue
            u = (fx * px + skew * py) / pz + cx
            v = fy * py / pz + cy
            if not (u >= 0.0 and v >= 0.0 and u < w and v < h):
                continue
            row, column = int(v), int(u)
            sensor = depth[row, column]
            if sensor <= 0.0:
                continue
            gap = (sensor - pz) / margin
            if gap > 2.0:  # beside an edge sensors mix both sides
                total -= min(gap - 2.0, 1.0)
            elif abs(gap) < 1.0:
                value = 1.0 - gap * gap
                if scale > 0.0:
                    apart = abs(image_ab[row, column, 0] - ab[j, 0])
                    apart += abs(image_ab[row, column, 1] - ab[j, 1])
                    value *= SHAPE + (1.0 - SHAPE) * math.exp(-apart * scale)
                total += value
        beside, on = 0, 0
        for j in range(rim.shape[1]):
            x, y, z = rim[side, j, 0], rim[side, j, 1], rim[side, j, 2]
            px = M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + d[0]
            py = M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + d[1]
            pz = M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + d[2]
            if pz < 0.01:
                continue
            u = (fx * px + skew * py) / pz + cx
            v = fy * py / pz + cy
            if u >= 0.0 and v >= 0.0 and u < w and v < h and depth[int(v), int(u)] > 0.0:
                beside += 1
                gap, more = depth[int(v), int(u)] - pz, beyond[side, j]
                if min(more, 0.0) - 1.5 * margin < gap < max(more, 0.0) + 1.5 * margin:
                    on += 1
        out[i] = total / max(count, 1) - GOES_ON * on / max(beside, 1)
