"""Numba kernels of the soft mask, forward and backward.

The pixels that a face reaches are few and lie in several rows: they are gathered, so that loops
without branches run over whole groups of LANES, which the compiler turns into vector instructions.
Arithmetic is float32 relative to the face's first corner.
"""

from __future__ import annotations

import math

import numpy as np

from self6d.numba_tools import jit, u64, vector
from self6d.rendering.cpu.kernels import LANES

f32 = np.float32


@jit
def find_uncovered(face_id, after, before):
    """Where uncovered pixels are in each row of a band.

    Args:
        face_id: (rows, W). after, before: (rows, W) int32, out: the first uncovered column at or
            after each one (W if none), and the last at or before it (-1 if none).
    """
    rows, width = face_id.shape
    for n in range(rows):
        r, last = u64(n), -1
        for column in range(width):
            if face_id[r, u64(column)] < 0:
                last = column
            before[r, u64(column)] = last
        last = width
        for column in range(width - 1, -1, -1):
            if face_id[r, u64(column)] < 0:
                last = column
            after[r, u64(column)] = last


@jit
def uncovered_before(face_id):
    """(rows + 1, W + 1) int32: how many uncovered pixels lie above and left of each corner."""
    rows, width = face_id.shape
    out = np.zeros((rows + 1, width + 1), np.int32)
    for n in range(rows):
        r, below, count = u64(n), u64(n + 1), np.int32(0)
        for m in range(width):
            c = u64(m)
            count += np.int32(face_id[r, c] < 0)
            out[below, c + u64(1)] = out[r, c + u64(1)] + count
    return out


@jit
def soft_box(pix, i, j, k, box_x, box_y, row0, row1, width):
    """Pixels of a band whose centre is in a face's enlarged box: left, right, top, bottom.

    Inclusive; empty for a face that is not wholly beyond the near plane.
    """
    x0 = min(pix[i, 0], pix[j, 0], pix[k, 0]) - box_x - 0.5
    x1 = max(pix[i, 0], pix[j, 0], pix[k, 0]) + box_x - 0.5
    y0 = min(pix[i, 1], pix[j, 1], pix[k, 1]) - box_y - 0.5
    y1 = max(pix[i, 1], pix[j, 1], pix[k, 1]) + box_y - 0.5
    # x0 <= column < x1 and y0 < row <= y1: kaolin's half-open box, its y axis being up
    left = math.ceil(max(x0, 0.0))
    right = math.ceil(min(x1, float(width))) - 1
    top = math.floor(max(y0, row0 - 1.0)) + 1
    bottom = math.floor(min(y1, row1 - 1.0))
    if left > right or pix[i, 2] == 0 or pix[j, 2] == 0 or pix[k, 2] == 0:
        bottom = top - 1
    return left, right, top, bottom


@jit
def outline(pix, i, j, k, sx, sy):
    """A face in image units about its first corner.

    Returns:
        (x, y) of the corners 1 and 2, and 1 / |edge|^2 of the three edges 01, 12, 20; float32.
    """
    x1, y1 = (pix[j, 0] - pix[i, 0]) * sx, (pix[j, 1] - pix[i, 1]) * sy
    x2, y2 = (pix[k, 0] - pix[i, 0]) * sx, (pix[k, 1] - pix[i, 1]) * sy
    u = 1.0 / max(x1 * x1 + y1 * y1, 1e-30)
    v = 1.0 / max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-30)
    w = 1.0 / max(x2 * x2 + y2 * y2, 1e-30)
    return f32(x1), f32(y1), f32(x2), f32(y2), f32(u), f32(v), f32(w)


@vector
def nearest_on(px, py, ux, uy, inverse):
    """Nearest point s u, 0 <= s <= 1, of a segment from the origin: s and the offset from it."""
    s = min(max((px * ux + py * uy) * inverse, f32(0)), f32(1))
    return s, px - s * ux, py - s * uy


@vector
def negative_exp(x):
    """exp(-x) for x >= 0, float32, relative error under 2e-7; 0 beyond x = 87."""
    t = min(x, f32(87)) * f32(1.44269504)
    whole = np.int32(t + f32(0.5))
    r = (f32(whole) - t) * f32(0.69314718)
    p = f32(1 / 720)
    p = p * r + f32(1 / 120)
    p = p * r + f32(1 / 24)
    p = p * r + f32(1 / 6)
    p = p * r + f32(0.5)
    p = p * r + f32(1)
    p = p * r + f32(1)
    scale = np.int32((np.int32(127) - whole) << np.int32(23)).view(np.float32)
    return p * scale if x < f32(87) else f32(0)


@vector
def miss_of(x, p):
    """1 - exp(-x), never 0, given p = exp(-x)."""
    x = max(x, f32(1e-12))
    small = x * (f32(1) - x * (f32(0.5) - x * f32(1 / 6)))
    return small if x < f32(0.03) else f32(1) - p


@jit
def gathered(pix, i, left, right, top, bottom, row0, sx, sy, after, before, free, x, y, at):
    """The pixels of a face's box that are not covered or certain already.

    Args:
        x, y, at: (rows W + LANES,), out: offset from the face's first corner, float32, and index
            into a row of free, int32, both of free's rows behind one another.

    Returns:
        how many there are; x and y are 0 up to a whole group.
    """
    count, stride, step = 0, free.shape[1], f32(sx)
    for row in range(top, bottom + 1):
        r = u64(row - row0)
        low = after[r, u64(left)]
        if low > right:
            continue
        px, py = f32((low + 0.5 - pix[i, 0]) * sx), f32((row + 0.5 - pix[i, 1]) * sy)
        for n in range(before[r, u64(right)] - low + 1):
            c = u64(low + n)
            place = u64(count)
            x[place], y[place] = px + f32(n) * step, py
            at[place] = np.int32((row - row0) * stride + low + n)
            count += int(free[r, c] > 0)
    for n in range(LANES):
        x[u64(count + n)], y[u64(count + n)] = f32(0), f32(0)
    return count


@vector
def soften(pix, faces, entries, sigma_inv, box_x, box_y, row0, row1, height, width, face_id, free):
    """Product over faces of (1 - probability), for the uncovered pixels of a band.

    Args:
        face_id: (rows, W). free: (rows, W + LANES) float32, out: the product; 0 where covered.

    Returns:
        (M,) int32, the entries that reach an uncovered pixel, in their order.
    """
    rows = row1 - row0
    for n in range(rows):
        for c in range(width):
            free[n, c] = 1.0 if face_id[n, c] < 0 else 0.0
        free[n, width:] = 0.0
    after, before = np.empty((rows, width), np.int32), np.empty((rows, width), np.int32)
    find_uncovered(face_id, after, before)
    count_of = uncovered_before(face_id)
    reaching, found = np.empty(len(entries), np.int32), 0
    sx, sy, sharp, zero = 2.0 / width, 2.0 / height, f32(sigma_inv), f32(0)
    most = rows * width + LANES
    xs, ys, left_over = np.empty(most, f32), np.empty(most, f32), np.empty(most, f32)
    at, flat = np.empty(most, np.int32), free.reshape(-1)
    for n in range(len(entries)):
        f = u64(entries[n])
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        left, right, top, bottom = soft_box(pix, i, j, k, box_x, box_y, row0, row1, width)
        if top > bottom:
            continue
        above, below = count_of[u64(top - row0)], count_of[u64(bottom + 1 - row0)]
        first, end = u64(left), u64(right + 1)
        if below[end] - above[end] == below[first] - above[first]:
            continue  # most faces touch no uncovered pixel
        reaching[found] = entries[n]
        found += 1
        x1, y1, x2, y2, u, v, w = outline(pix, i, j, k, sx, sy)
        count = gathered(
            pix, i, left, right, top, bottom, row0, sx, sy, after, before, free, xs, ys, at
        )
        for lane in range(count):
            left_over[u64(lane)] = flat[u64(at[u64(lane)])]
        for lane in range((count + LANES - 1) & -LANES):
            m = u64(lane)
            x, y = xs[m], ys[m]
            _, ax, ay = nearest_on(x, y, x1, y1, u)
            _, bx, by = nearest_on(x - x1, y - y1, x2 - x1, y2 - y1, v)
            _, cx, cy = nearest_on(x, y, x2, y2, w)
            d = min(ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy) * sharp
            value = left_over[m] * miss_of(d, negative_exp(d))
            left_over[m] = value if value > f32(1e-30) else zero  # no subnormals: slow
        for lane in range(count):
            flat[u64(at[u64(lane)])] = left_over[u64(lane)]
    return reaching[:found]


@vector
def soften_backward(pix, i, j, k, sx, sy, sigma_inv, count, xs, ys, at, free, seed, g, sums):
    """Gradient of `soften` for one face: d loss / d (corner x, y), per pixel, into g (6,) float32.

    With d2 to the nearest of the three edges, d mask / d d2 = -sigma_inv p prod_others (1 - p).

    Args:
        count, xs, ys, at: from `gathered`. free, seed: the product and the incoming gradient, flat.
        sums: (8, LANES) float32, scratch.
    """
    x1, y1, x2, y2, u, v, w = outline(pix, i, j, k, sx, sy)
    sharp, one, zero = f32(sigma_inv), f32(1), f32(0)
    sums[:] = 0
    for start in range(0, count, LANES):
        for lane in range(LANES):
            n, m = u64(lane), u64(start + lane)
            inside = start + lane < count
            place = u64(at[m]) if inside else u64(0)
            sums[6, n] = free[place] if inside else zero
            sums[7, n] = seed[place]
        for lane in range(sums.shape[1]):  # a constant would be unrolled, not vectorised
            n = u64(lane)
            m = u64(start) + n
            x, y = xs[m], ys[m]
            s, dx, dy = nearest_on(x, y, x1, y1, u)
            t, bx, by = nearest_on(x - x1, y - y1, x2 - x1, y2 - y1, v)
            q, cx, cy = nearest_on(x, y, x2, y2, w)
            d, db, dc = dx * dx + dy * dy, bx * bx + by * by, cx * cx + cy * cy
            # w1, w2: how much the nearest point hangs on the corners 1 and 2
            w1, w2 = s, zero
            closer = db < d
            w1, w2 = (one - t if closer else w1), (t if closer else w2)
            dx, dy, d = (bx if closer else dx), (by if closer else dy), (db if closer else d)
            closer = dc < d
            w1, w2 = (zero if closer else w1), (q if closer else w2)
            dx, dy, d = (cx if closer else dx), (cy if closer else dy), (dc if closer else d)
            d *= sharp
            p = negative_exp(d)
            scale = sums[7, n] * p * (sums[6, n] / miss_of(d, p))
            scale = scale if d > f32(1e-12) else zero
            gx, gy = scale * dx, scale * dy
            w0 = one - w1 - w2
            sums[0, n] += gx * w0
            sums[1, n] += gy * w0
            sums[2, n] += gx * w1
            sums[3, n] += gy * w1
            sums[4, n] += gx * w2
            sums[5, n] += gy * w2
    fx, fy = 2.0 * sigma_inv * sx, 2.0 * sigma_inv * sy
    for corner in range(3):
        gx, gy = zero, zero
        for lane in range(LANES):
            gx += sums[2 * corner, lane]
            gy += sums[2 * corner + 1, lane]
        g[2 * corner], g[2 * corner + 1] = gx * fx, gy * fy
