"""Numba kernel that carries the gradients of one band of rows to the pose.

Covered pixels. A pixel's ray d (unit z) meets the plane of its face, normal n, at depth
z = n.v0 / n.d with barycentrics b. If corner i moves by delta, z changes by b_i n.delta / n.d and
barycentric k by -b_i gamma_k.(I - d n^T / n.d) delta, gamma_k being the gradient of b_k within the
plane. So every corner receives b_i q with one vector a pixel,

    q = g_z n / n.d - (I - n d^T / n.d) sum_k g_bk gamma_k.

Uncovered pixels pass the soft mask's gradient through the nearest point of each face's outline to
the two corners v of that edge. Either way the pose and the camera need only two sums over the
points p that receive a vector q, s = sum q and A = sum q p^T (camera frame): dt = s,
dR = (A - s t^T) R, and `cpu.camera_gradient` for K, whose change moves the rays by -z q.
"""

from __future__ import annotations

import numpy as np

from self6d.numba_tools import LANES, inner, jit, u64
from self6d.rendering.cpu.forward import face_normal, texture_level, trilinear_all
from self6d.rendering.cpu.kernels import BAND, screen_barycentrics
from self6d.rendering.cpu.soft import find_uncovered, soften_backward

SUMS = 12  # s (3), A (9, row-major)


@jit
def backward_bands(
    first, end, cam, pix, faces, boxes, starts, entries, reaching, reach, K, R, colors, uv, texels,
    mips, levels, sigma_inv, soft, face_id, depth, free, g_rgb, g_depth, g_mask, sums, g_vertices,
    g_colors,
):  # fmt: skip
    """`backward_band` for the bands first <= k < end.

    Args:
        boxes, starts, entries: from `prepare`. reaching, reach, free: from `forward_bands`.
        sums: (bands, SUMS) float64, out.
    """
    for k in range(first, end):
        row0, row1 = k * BAND, min((k + 1) * BAND, face_id.shape[0])
        sums[k] = 0
        if starts[k] < starts[k + 1]:
            backward_band(
                cam, pix, faces, boxes, entries[starts[k] : starts[k + 1]],
                reaching[starts[k] : starts[k] + reach[k]], K, R, colors, uv, texels, mips, levels,
                sigma_inv, row0, row1, soft, face_id, depth, free[k], g_rgb, g_depth, g_mask,
                sums[k], g_vertices, g_colors,
            )  # fmt: skip


@jit
def backward_band(
    cam, pix, faces, boxes, entries, reaching, K, R, colors, uv, texels, mips, levels, sigma_inv,
    row0, row1, soft, face_id, depth, free, g_rgb, g_depth, g_mask, sums, g_vertices, g_colors,
):  # fmt: skip
    """Add the gradients of rows row0 <= row < row1 of one item.

    Args:
        g_rgb (3, H, W), g_depth, g_mask (H, W): incoming, or of size 0 where there is none.
        entries: the band's. reaching: those that reach an uncovered pixel.
        sums: (SUMS,) float64, added to.
        g_vertices, g_colors: (V, 3) float64, added to; of size 0 where not required.
    """
    if g_rgb.size > 0 or g_depth.size > 0:
        if (levels > 0 and g_rgb.size > 0) or len(g_vertices) > 0 or len(g_colors) > 0:
            covered_pixels(
                cam, pix, faces, K, R, colors, uv, texels, mips, levels, row0, row1, face_id,
                g_rgb, g_depth, sums, g_vertices, g_colors,
            )  # fmt: skip
        else:
            covered_plain(
                cam, faces, entries, K, colors, row0, row1, face_id, depth, g_rgb, g_depth, sums
            )
    if soft and g_mask.size > 0 and len(reaching) > 0:
        uncovered_pixels(
            cam, pix, faces, boxes, reaching, K, R, sigma_inv, row0, row1, face_id, free, g_mask,
            sums, g_vertices,
        )  # fmt: skip


@jit
def covered_plain(
    cam, faces, entries, K, colors, row0, row1, face_id, depth, g_rgb, g_depth, sums
):  # fmt: skip
    """Colours of the corners and depth, to the pose and the camera alone.

    n and sum_k c_k gamma_k of each channel are made once for each face that is seen.
    """
    width = face_id.shape[1]
    colored, deep = g_rgb.size > 0, g_depth.size > 0
    place, known = np.empty(len(faces), np.int32), np.zeros(len(entries), np.uint8)
    slopes = np.empty((len(entries), 12))
    for n in range(len(entries)):
        place[u64(entries[u64(n)])] = n
    s0, s1, s2 = 0.0, 0.0, 0.0
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    skew, inverse_fx = K[0, 1] / np.float64(K[0, 0]), 1.0 / np.float64(K[0, 0])
    for row in range(row0, row1):
        r = u64(row)
        dy = (row + 0.5 - K[1, 2]) / np.float64(K[1, 1])
        left = (0.5 - K[0, 2]) * inverse_fx - skew * dy
        for column in range(width):
            c = u64(column)
            if face_id[r, c] < 0:
                continue
            f = u64(face_id[r, c])
            e = u64(place[f])
            if not known[e]:
                known[e] = 1
                color_slopes(cam, faces, f, colors, colored, slopes, e)
            dx = left + column * inverse_fx
            facing = slopes[e, 0] * dx + slopes[e, 1] * dy + slopes[e, 2]
            if facing == 0:
                continue
            z = np.float64(depth[r, c])
            along = np.float64(g_depth[r, c]) if deep else 0.0
            hx, hy, hz = 0.0, 0.0, 0.0
            if colored:
                red, green, blue = g_rgb[0, r, c], g_rgb[1, r, c], g_rgb[2, r, c]
                hx = red * slopes[e, 3] + green * slopes[e, 6] + blue * slopes[e, 9]
                hy = red * slopes[e, 4] + green * slopes[e, 7] + blue * slopes[e, 10]
                hz = red * slopes[e, 5] + green * slopes[e, 8] + blue * slopes[e, 11]
            along = (along + hx * dx + hy * dy + hz) / facing
            qx, qy, qz = (
                along * slopes[e, 0] - hx,
                along * slopes[e, 1] - hy,
                along * slopes[e, 2] - hz,
            )
            px, py = z * dx, z * dy
            s0, s1, s2 = s0 + qx, s1 + qy, s2 + qz
            a00, a01, a02 = a00 + qx * px, a01 + qx * py, a02 + qx * z
            a10, a11, a12 = a10 + qy * px, a11 + qy * py, a12 + qy * z
            a20, a21, a22 = a20 + qz * px, a21 + qz * py, a22 + qz * z
    total = (s0, s1, s2, a00, a01, a02, a10, a11, a12, a20, a21, a22)
    for n in range(SUMS):
        sums[n] += total[n]


@inner
def color_slopes(cam, faces, f, colors, colored, out, e):
    """n of a face and `slope` of its three channels, to out[e] (12,); 0 for a face without area."""
    i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
    nx, ny, nz = face_normal(cam, i, j, k)
    square = nx * nx + ny * ny + nz * nz
    out[e, 0], out[e, 1], out[e, 2] = nx, ny, nz
    if colored and square > 0:
        per = 1.0 / square
        # no loop: references to arrays are then not counted
        out[e, 3], out[e, 4], out[e, 5] = slope(
            cam, i, j, k, nx, ny, nz, per, colors[i, 0], colors[j, 0], colors[k, 0]
        )
        out[e, 6], out[e, 7], out[e, 8] = slope(
            cam, i, j, k, nx, ny, nz, per, colors[i, 1], colors[j, 1], colors[k, 1]
        )
        out[e, 9], out[e, 10], out[e, 11] = slope(
            cam, i, j, k, nx, ny, nz, per, colors[i, 2], colors[j, 2], colors[k, 2]
        )


@jit
def covered_pixels(
    cam, pix, faces, K, R, colors, uv, texels, mips, levels, row0, row1, face_id, g_rgb, g_depth,
    sums, g_vertices, g_colors,
):  # fmt: skip
    """Colour and depth."""
    width = face_id.shape[1]
    colored, deep, plain = g_rgb.size > 0, g_depth.size > 0, levels == 0
    s0, s1, s2 = 0.0, 0.0, 0.0
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    last = -1
    i = j = k = u64(0)
    nx, ny, nz, square, per = 0.0, 0.0, 0.0, 0.0, 0.0
    w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    rx, ry, rz, gx, gy, gz, bx, by, bz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    skew, inverse_fx = K[0, 1] / np.float64(K[0, 0]), 1.0 / np.float64(K[0, 0])
    for row in range(row0, row1):
        y, r = row + 0.5, u64(row)
        dy = (y - K[1, 2]) / K[1, 1]
        for column in range(width):
            c = u64(column)
            f = face_id[r, c]
            if f < 0:
                continue
            x = column + 0.5
            dx = (x - K[0, 2]) * inverse_fx - skew * dy
            if f != last:
                last, at = f, u64(f)
                i, j, k = u64(faces[at, 0]), u64(faces[at, 1]), u64(faces[at, 2])
                w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = screen_barycentrics(
                    cam, pix, K, i, j, k
                )
                nx, ny, nz = face_normal(cam, i, j, k)
                square = nx * nx + ny * ny + nz * nz
                per = 1.0 / square if square > 0 else 0.0
                if plain and square > 0:
                    rx, ry, rz = slope(
                        cam, i, j, k, nx, ny, nz, per, colors[i, 0], colors[j, 0], colors[k, 0]
                    )
                    gx, gy, gz = slope(
                        cam, i, j, k, nx, ny, nz, per, colors[i, 1], colors[j, 1], colors[k, 1]
                    )
                    bx, by, bz = slope(
                        cam, i, j, k, nx, ny, nz, per, colors[i, 2], colors[j, 2], colors[k, 2]
                    )
            facing = nx * dx + ny * dy + nz
            if facing == 0 or square == 0:
                continue
            b0, b1, b2 = w0a * x + w0b * y + w0c, w1a * x + w1b * y + w1c, w2a * x + w2b * y + w2c
            z = 1.0 / (b0 + b1 + b2)
            b0, b1, b2 = b0 * z, b1 * z, b2 * z
            along = np.float64(g_depth[r, c]) if deep else 0.0
            hx, hy, hz = 0.0, 0.0, 0.0  # sum_k g_bk gamma_k
            if colored:
                red, green, blue = g_rgb[0, r, c], g_rgb[1, r, c], g_rgb[2, r, c]
                if plain:
                    hx = red * rx + green * gx + blue * bx
                    hy = red * ry + green * gy + blue * by
                    hz = red * rz + green * gz + blue * bz
                    if len(g_colors) > 0:
                        add_colors(g_colors, i, j, k, b0, b1, b2, red, green, blue)
                else:
                    u = b0 * uv[f, 0, 0] + b1 * uv[f, 1, 0] + b2 * uv[f, 2, 0]
                    v = b0 * uv[f, 0, 1] + b1 * uv[f, 1, 1] + b2 * uv[f, 2, 1]
                    level = texture_level(cam, i, j, k, uv[f], mips, dx, dy, z, K[0, 0] * K[1, 1])
                    t = trilinear_all(texels, mips, levels, level, u, v)
                    gu = red * t[3] + green * t[4] + blue * t[5]
                    gv = red * t[6] + green * t[7] + blue * t[8]
                    hx, hy, hz = slope(
                        cam, i, j, k, nx, ny, nz, per,
                        gu * uv[f, 0, 0] + gv * uv[f, 0, 1],
                        gu * uv[f, 1, 0] + gv * uv[f, 1, 1],
                        gu * uv[f, 2, 0] + gv * uv[f, 2, 1],
                    )  # fmt: skip
            along = (along + hx * dx + hy * dy + hz) / facing
            qx, qy, qz = along * nx - hx, along * ny - hy, along * nz - hz
            px, py = z * dx, z * dy
            s0, s1, s2 = s0 + qx, s1 + qy, s2 + qz
            a00, a01, a02 = a00 + qx * px, a01 + qx * py, a02 + qx * z
            a10, a11, a12 = a10 + qy * px, a11 + qy * py, a12 + qy * z
            a20, a21, a22 = a20 + qz * px, a21 + qz * py, a22 + qz * z
            if len(g_vertices) > 0:
                add_vertex(R, i, b0 * qx, b0 * qy, b0 * qz, g_vertices)
                add_vertex(R, j, b1 * qx, b1 * qy, b1 * qz, g_vertices)
                add_vertex(R, k, b2 * qx, b2 * qy, b2 * qz, g_vertices)
    total = (s0, s1, s2, a00, a01, a02, a10, a11, a12, a20, a21, a22)
    for n in range(SUMS):
        sums[n] += total[n]


@inner
def slope(cam, i, j, k, nx, ny, nz, per, c0, c1, c2):
    """Gradient within the plane of a quantity given at the corners.

    sum_k c_k gamma_k = n x sum_k c_k (edge opposite to k) / |n|^2; per is 1 / |n|^2.
    """
    ex = c0 * (cam[k, 0] - cam[j, 0]) + c1 * (cam[i, 0] - cam[k, 0]) + c2 * (cam[j, 0] - cam[i, 0])
    ey = c0 * (cam[k, 1] - cam[j, 1]) + c1 * (cam[i, 1] - cam[k, 1]) + c2 * (cam[j, 1] - cam[i, 1])
    ez = c0 * (cam[k, 2] - cam[j, 2]) + c1 * (cam[i, 2] - cam[k, 2]) + c2 * (cam[j, 2] - cam[i, 2])
    return (ny * ez - nz * ey) * per, (nz * ex - nx * ez) * per, (nx * ey - ny * ex) * per


@jit
def add_colors(g_colors, i, j, k, b0, b1, b2, red, green, blue):
    """Spread a pixel's gradient over the colours of three corners."""
    for n in range(3):
        g = red if n == 0 else (green if n == 1 else blue)
        g_colors[i, n] += b0 * g
        g_colors[j, n] += b1 * g
        g_colors[k, n] += b2 * g


@jit
def add_vertex(R, i, gx, gy, gz, g_vertices):
    """Camera-frame gradient to the model frame."""
    for n in range(3):
        g_vertices[i, n] += R[0, n] * gx + R[1, n] * gy + R[2, n] * gz


@jit
def uncovered_pixels(
    cam, pix, faces, boxes, reaching, K, R, sigma_inv, row0, row1, face_id, free, g_mask, sums,
    g_vertices,
):  # fmt: skip
    """Soft mask."""
    height, width = face_id.shape
    rows = row1 - row0
    rank = np.empty((rows, width + 1), np.int32)
    column, line = np.zeros(len(free), np.float32), np.zeros(len(free), np.float32)
    seed = np.zeros(len(free), np.float32)
    find_uncovered(face_id[row0:row1], rank, column, line)
    for n in range(rows):
        r = u64(row0 + n)
        for m in range(rank[n, 0], rank[n, width]):
            seed[u64(m)] = g_mask[r, u64(column[u64(m)])] * free[u64(m)]
    g, sides = np.empty((len(reaching), 6), np.float32), np.empty((6, LANES), np.float32)
    soften_backward(
        pix,
        faces,
        boxes,
        reaching,
        sigma_inv,
        row0,
        row1,
        height,
        rank,
        column,
        line,
        seed,
        sides,
        g,
    )
    fx, skew, fy = np.float64(K[0, 0]), np.float64(K[0, 1]), np.float64(K[1, 1])
    s0, s1, s2 = 0.0, 0.0, 0.0
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(len(reaching)):
        f = u64(reaching[u64(n)])
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        for corner in range(3):
            v = i if corner == 0 else (j if corner == 1 else k)
            gx, gy = np.float64(g[n, 2 * corner]), np.float64(g[n, 2 * corner + 1])
            # a projected corner's gradient, per pixel, to the corner itself
            inverse, x, y, z = pix[v, 2], cam[v, 0], cam[v, 1], cam[v, 2]
            qx = gx * fx * inverse
            qy = (gx * skew + gy * fy) * inverse
            qz = -(qx * x + qy * y) * inverse
            s0, s1, s2 = s0 + qx, s1 + qy, s2 + qz
            a00, a01, a02 = a00 + qx * x, a01 + qx * y, a02 + qx * z
            a10, a11, a12 = a10 + qy * x, a11 + qy * y, a12 + qy * z
            a20, a21, a22 = a20 + qz * x, a21 + qz * y, a22 + qz * z
            if len(g_vertices) > 0:
                add_vertex(R, v, qx, qy, qz, g_vertices)
    total = (s0, s1, s2, a00, a01, a02, a10, a11, a12, a20, a21, a22)
    for n in range(SUMS):
        sums[n] += total[n]
