"""Numba kernels of the soft mask, forward and backward.

The uncovered pixels of a band lie behind one another, row after row: those that a face reaches in a
row are neighbours, and loops without branches run over whole groups of LANES, which the compiler
turns into vector instructions. Arithmetic is float32 relative to the face's first corner.
"""

from __future__ import annotations

import numpy as np

from self6d.numba_tools import LANES, exp_near_zero, inner, jit, u64, vector
from self6d.rendering.cpu.lanes import copy_lanes

f32 = np.float32


@jit
def find_uncovered(seen, rank, column, line):
    """Number the uncovered pixels of a band, row after row.

    Args:
        seen: (rows, >= W), negative where uncovered.
        rank: (rows, W + 1) int32, out: how many come before each pixel of a row, and its end.
        column, line: (>= rows W + LANES,) float32, out: their columns and rows in the band.

    Returns:
        how many there are.
    """
    rows, width, count = rank.shape[0], rank.shape[1] - 1, np.int32(0)
    for n in range(rows):
        r = u64(n)
        for m in range(width):
            c = u64(m)
            rank[r, c], column[u64(count)], line[u64(count)] = count, f32(m), f32(n)
            count += np.int32(seen[r, c] < 0)
        rank[r, u64(width)] = count
    return count


@jit
def uncovered_before(rank):
    """(rows + 1, W + 1) int32: how many uncovered pixels lie above and left of each corner."""
    rows, ends = rank.shape
    out = np.zeros((rows + 1, ends), np.int32)
    for n in range(rows):
        r, below = u64(n), u64(n + 1)
        first = rank[r, u64(0)]
        for m in range(ends):
            c = u64(m)
            out[below, c] = out[r, c] + (rank[r, c] - first)
    return out


@inner
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
    scale = np.int32((np.int32(127) - whole) << np.int32(23)).view(np.float32)
    return exp_near_zero(r) * scale if x < f32(87) else f32(0)


@vector
def miss_of(x, p):
    """1 - exp(-x), never 0, given p = exp(-x)."""
    x = max(x, f32(1e-12))
    small = x * (f32(1) - x * (f32(0.5) - x * f32(1 / 6)))
    return small if x < f32(0.03) else f32(1) - p


@vector
def soften(
    pix, faces, boxes, entries, sigma_inv, row0, row1, height, rank, column, line, free, reaching
):
    """Product over faces of (1 - probability), for the uncovered pixels of a band.

    Args:
        boxes, entries: from `prepare`, entries of this band.
        rank, column, line: from `find_uncovered`.
        free: like column, out: the product.
        reaching: (>= entries,) int32, out: the faces that reach an uncovered pixel, in order.

    Returns:
        how many of these there are.
    """
    width, found = rank.shape[1] - 1, 0
    free[:] = f32(1)
    before = uncovered_before(rank)
    sx, sy, sharp, zero = 2.0 / width, 2.0 / height, f32(sigma_inv), f32(0)
    step, down = f32(sx), f32(sy)
    number, at = np.arange(len(free)).astype(np.int32), np.empty(len(free), np.int32)
    xs, ys, values = np.empty(len(free), f32), np.empty(len(free), f32), np.empty(len(free), f32)
    for n in range(len(entries)):
        f = u64(entries[u64(n)])
        left, right = int(boxes[f, 4]), int(boxes[f, 5])
        top, bottom = max(int(boxes[f, 6]), row0) - row0, min(int(boxes[f, 7]), row1 - 1) - row0
        if left > right or top > bottom:
            continue
        above, below = u64(top), u64(bottom + 1)
        first, end = u64(left), u64(right + 1)
        if before[below, end] - before[above, end] == before[below, first] - before[above, first]:
            continue  # most faces touch no uncovered pixel
        reaching[u64(found)] = entries[u64(n)]
        found += 1
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        x1, y1, x2, y2, u, v, w = outline(pix, i, j, k, sx, sy)
        # whole groups: rows are short, and a branch for each would be guessed wrongly
        count = 0
        for row in range(top, bottom + 1):
            begin, stop = int(rank[u64(row), first]), int(rank[u64(row), end])
            for start in range(begin, max(stop, begin + 1), LANES):
                copy_lanes(xs, count, column, start)
                copy_lanes(ys, count, line, start)
                copy_lanes(values, count, free, start)
                copy_lanes(at, count, number, start)
                count += min(stop - start, LANES)
        x0, y0 = f32(left), f32(top)
        x_first = f32((left + 0.5 - pix[i, 0]) * sx)
        y_first = f32((top + row0 + 0.5 - pix[i, 1]) * sy)
        for lane in range((count + LANES - 1) & -LANES):
            m = u64(lane)
            x, y = (xs[m] - x0) * step + x_first, (ys[m] - y0) * down + y_first
            _, ax, ay = nearest_on(x, y, x1, y1, u)
            _, bx, by = nearest_on(x - x1, y - y1, x2 - x1, y2 - y1, v)
            _, cx, cy = nearest_on(x, y, x2, y2, w)
            d = min(ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy) * sharp
            value = values[m] * miss_of(d, negative_exp(d))
            values[m] = value if value > f32(1e-30) else zero  # no subnormals: slow
        for lane in range(count):
            free[u64(at[u64(lane)])] = values[u64(lane)]
    return found


@vector
def soften_backward(
    pix, faces, boxes, reaching, sigma_inv, row0, row1, height, rank, column, line, seed, sums, out
):  # fmt: skip
    """Gradient of `soften`: d loss / d (x, y), per pixel, of each face's corners.

    With d2 to the nearest of the three edges, d mask / d d2 = -sigma_inv p prod_others (1 - p).

    Args:
        boxes: from `prepare`. reaching: (M,) int32, from `soften`.
        rank, column, line: from `find_uncovered`.
        seed: like column, the product of misses times the incoming gradient.
        sums: (6, LANES) float32, scratch; made elsewhere, as loops of a length that the compiler
            knows are unrolled, not vectorised.
        out: (M, 6) float32, out.
    """
    width = rank.shape[1] - 1
    sx, sy, sharp, one, zero = 2.0 / width, 2.0 / height, f32(sigma_inv), f32(1), f32(0)
    step, down, by_x, by_y = f32(sx), f32(sy), 2.0 * sigma_inv * sx, 2.0 * sigma_inv * sy
    xs, ys, values = np.zeros(len(seed), f32), np.zeros(len(seed), f32), np.empty(len(seed), f32)
    for item in range(len(reaching)):
        f = u64(reaching[u64(item)])
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        left, first, end = int(boxes[f, 4]), u64(boxes[f, 4]), u64(boxes[f, 5]) + u64(1)
        top, bottom = max(int(boxes[f, 6]), row0) - row0, min(int(boxes[f, 7]), row1 - 1) - row0
        x1, y1, x2, y2, u, v, w = outline(pix, i, j, k, sx, sy)
        x0, y0 = f32(left), f32(top)
        x_first = f32((left + 0.5 - pix[i, 0]) * sx)
        y_first = f32((top + row0 + 0.5 - pix[i, 1]) * sy)
        count = 0
        for row in range(top, bottom + 1):
            begin, stop = int(rank[u64(row), first]), int(rank[u64(row), end])
            for start in range(begin, max(stop, begin + 1), LANES):
                copy_lanes(xs, count, column, start)
                copy_lanes(ys, count, line, start)
                copy_lanes(values, count, seed, start)
                count += min(stop - start, LANES)
        for lane in range(LANES):
            values[u64(count + lane)] = zero
        sums[:] = zero
        for start in range(0, count, LANES):
            for lane in range(sums.shape[1]):
                n = u64(lane)
                m = u64(start) + n
                x, y = (xs[m] - x0) * step + x_first, (ys[m] - y0) * down + y_first
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
                scale = p * (values[m] / miss_of(d, p))
                scale = scale if d > f32(1e-12) else zero
                gx, gy = scale * dx, scale * dy
                w0 = one - w1 - w2
                sums[0, n] += gx * w0
                sums[1, n] += gy * w0
                sums[2, n] += gx * w1
                sums[3, n] += gy * w1
                sums[4, n] += gx * w2
                sums[5, n] += gy * w2
        for side in range(3):
            at = u64(2 * side)
            gx, gy = zero, zero
            for lane in range(LANES):
                gx += sums[at, u64(lane)]
                gy += sums[at + u64(1), u64(lane)]
            out[item, at], out[item, at + u64(1)] = gx * by_x, gy * by_y
