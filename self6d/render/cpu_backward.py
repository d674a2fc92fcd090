"""Numba kernel that carries the gradients of one band of rows to the pose.

Covered pixels. A pixel's ray d (unit z) meets the plane of its face, normal n, at depth
z = n.v0 / n.d with barycentrics b. If corner i moves by delta, z changes by b_i n.delta / n.d and
barycentric k by -b_i gamma_k.(I - d n^T / n.d) delta, gamma_k being the gradient of b_k within the
plane. So every corner receives b_i q with one vector a pixel,

    q = g_z n / n.d - (I - n d^T / n.d) sum_k g_bk gamma_k,

and the pose receives dt = q, dR = q X^T at the surface point X in the model frame, and the ray
-z q. Uncovered pixels pass the soft mask's gradient through the nearest point of each face's
outline, which moves with the two corners of that edge.
"""

from __future__ import annotations

import numpy as np

from self6d.render.cpu_forward import face_normal, texture_level, trilinear_all
from self6d.render.cpu_kernels import LANES, jit, screen_barycentrics, u64
from self6d.render.cpu_soft import find_uncovered, soft_box, soften_backward

# what a band adds up: dt (3), dR (9, row-major), d(fx, skew, cx, fy, cy)
SUMS = 17


@jit
def backward_band(
    cam, pix, vertices, faces, entries, K, R, colors, uv, texels, mips, levels, sigma_inv,
    box_x, box_y, row0, row1, soft, face_id, free, g_rgb, g_depth, g_mask, sums, g_vertices,
    g_colors,
):  # fmt: skip
    """Add the gradients of rows row0 <= row < row1 of one item.

    Args:
        g_rgb (3, H, W), g_depth, g_mask (H, W): incoming, or of size 0 where there is none.
        sums: (SUMS,) float64, out.
        g_vertices, g_colors: (V, 3) float64, added to; of size 0 where not required.
    """
    sums[:] = 0
    if len(entries) == 0:
        return
    if g_rgb.size > 0 or g_depth.size > 0:
        covered_pixels(
            cam, pix, vertices, faces, K, R, colors, uv, texels, mips, levels, row0, row1, face_id,
            g_rgb, g_depth, sums, g_vertices, g_colors,
        )  # fmt: skip
    if soft and g_mask.size > 0:
        uncovered_pixels(
            cam, pix, vertices, faces, entries, K, R, sigma_inv, box_x, box_y, row0, row1, face_id,
            free, g_mask, sums, g_vertices,
        )  # fmt: skip


@jit
def covered_pixels(
    cam, pix, vertices, faces, K, R, colors, uv, texels, mips, levels, row0, row1, face_id, g_rgb,
    g_depth, sums, g_vertices, g_colors,
):  # fmt: skip
    """Colour and depth."""
    width = face_id.shape[1]
    colored, deep = g_rgb.size > 0, g_depth.size > 0
    gb = np.zeros(3)
    last, facing, gz = -1, 0.0, 0.0
    i = j = k = u64(0)
    nx, ny, nz, square = 0.0, 0.0, 0.0, 0.0
    w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for row in range(row0, row1):
        y, r = row + 0.5, u64(row)
        dy = (y - K[1, 2]) / K[1, 1]
        for column in range(width):
            c = u64(column)
            f = face_id[r, c]
            if f < 0:
                continue
            x = column + 0.5
            dx = (x - K[0, 2] - K[0, 1] * dy) / K[0, 0]
            if f != last:
                last, at = f, u64(f)
                i, j, k = u64(faces[at, 0]), u64(faces[at, 1]), u64(faces[at, 2])
                w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = screen_barycentrics(
                    cam, pix, K, i, j, k
                )
                nx, ny, nz = face_normal(cam, i, j, k)
                square = nx * nx + ny * ny + nz * nz
            facing = nx * dx + ny * dy + nz
            if facing == 0 or square == 0:
                continue
            b0, b1, b2 = w0a * x + w0b * y + w0c, w1a * x + w1b * y + w1c, w2a * x + w2b * y + w2c
            z = 1.0 / (b0 + b1 + b2)
            b0, b1, b2 = b0 * z, b1 * z, b2 * z
            gz = np.float64(g_depth[r, c]) if deep else 0.0
            qx, qy, qz = 0.0, 0.0, 0.0
            if colored:
                gr, gg, gbl = g_rgb[0, r, c], g_rgb[1, r, c], g_rgb[2, r, c]
                if levels > 0:
                    u = b0 * uv[f, 0, 0] + b1 * uv[f, 1, 0] + b2 * uv[f, 2, 0]
                    v = b0 * uv[f, 0, 1] + b1 * uv[f, 1, 1] + b2 * uv[f, 2, 1]
                    level = texture_level(cam, i, j, k, uv[f], mips, dx, dy, z, K[0, 0] * K[1, 1])
                    t = trilinear_all(texels, mips, levels, level, u, v)
                    gu, gv = gr * t[3] + gg * t[4] + gbl * t[5], gr * t[6] + gg * t[7] + gbl * t[8]
                    for n in range(3):
                        gb[n] = gu * uv[f, n, 0] + gv * uv[f, n, 1]
                else:
                    gb[0] = gr * colors[i, 0] + gg * colors[i, 1] + gbl * colors[i, 2]
                    gb[1] = gr * colors[j, 0] + gg * colors[j, 1] + gbl * colors[j, 2]
                    gb[2] = gr * colors[k, 0] + gg * colors[k, 1] + gbl * colors[k, 2]
                    if len(g_colors) > 0:
                        for n in range(3):
                            g = gr if n == 0 else (gg if n == 1 else gbl)
                            g_colors[i, n] += b0 * g
                            g_colors[j, n] += b1 * g
                            g_colors[k, n] += b2 * g
                # sum_k g_bk gamma_k = n x sum_k g_bk (opposite edge) / |n|^2
                ex = edge_sum(cam, i, j, k, gb, 0)
                ey = edge_sum(cam, i, j, k, gb, 1)
                ez = edge_sum(cam, i, j, k, gb, 2)
                hx = (ny * ez - nz * ey) / square
                hy = (nz * ex - nx * ez) / square
                hz = (nx * ey - ny * ex) / square
                gz += hx * dx + hy * dy + hz
                qx, qy, qz = -hx, -hy, -hz
            gz /= facing
            qx, qy, qz = qx + gz * nx, qy + gz * ny, qz + gz * nz
            add_point(vertices, i, j, k, b0, b1, b2, qx, qy, qz, sums)
            # the ray moves with K: it receives -z q
            rx = -z * qx / K[0, 0]
            ry = (-z * qy - rx * K[0, 1]) / K[1, 1]
            sums[12] -= rx * dx
            sums[13] -= rx * dy
            sums[14] -= rx
            sums[15] -= ry * dy
            sums[16] -= ry
            if len(g_vertices) > 0:
                add_vertex(R, i, b0 * qx, b0 * qy, b0 * qz, g_vertices)
                add_vertex(R, j, b1 * qx, b1 * qy, b1 * qz, g_vertices)
                add_vertex(R, k, b2 * qx, b2 * qy, b2 * qz, g_vertices)


@jit
def edge_sum(cam, i, j, k, g, axis):
    """One coordinate of sum_k g_k (edge opposite to corner k)."""
    a, b, c = cam[i, axis], cam[j, axis], cam[k, axis]
    return g[0] * (c - b) + g[1] * (a - c) + g[2] * (b - a)


@jit
def add_point(vertices, i, j, k, b0, b1, b2, qx, qy, qz, sums):
    """dt += q, dR += q X^T with X = sum_i b_i x_i in the model frame."""
    sums[0] += qx
    sums[1] += qy
    sums[2] += qz
    for n in range(3):
        x = b0 * vertices[i, n] + b1 * vertices[j, n] + b2 * vertices[k, n]
        sums[3 + n] += qx * x
        sums[6 + n] += qy * x
        sums[9 + n] += qz * x


@jit
def add_vertex(R, i, gx, gy, gz, g_vertices):
    """Camera-frame gradient to the model frame."""
    for n in range(3):
        g_vertices[i, n] += R[0, n] * gx + R[1, n] * gy + R[2, n] * gz


@jit
def uncovered_pixels(
    cam, pix, vertices, faces, entries, K, R, sigma_inv, box_x, box_y, row0, row1, face_id, free,
    g_mask, sums, g_vertices,
):  # fmt: skip
    """Soft mask."""
    height, width = face_id.shape
    rows = row1 - row0
    after, before = np.empty((rows, width), np.int32), np.empty((rows, width), np.int32)
    find_uncovered(face_id[row0:row1], after, before)
    sx, sy = 2.0 / width, 2.0 / height
    g = np.empty(6, np.float32)
    seed = np.zeros((rows, width + LANES), np.float32)
    seed[:, :width] = g_mask[row0:row1]
    spared = free[row0:row1]
    for n in range(len(entries)):
        f = u64(entries[n])
        i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
        left, right, top, bottom = soft_box(pix, i, j, k, box_x, box_y, row0, row1, width)
        while top <= bottom and after[u64(top - row0), u64(left)] > right:
            top += 1
        if top > bottom:
            continue
        soften_backward(
            pix, i, j, k, left, right, top, bottom, row0, sx, sy, sigma_inv, after, spared, seed, g
        )
        for corner in range(3):
            if g[2 * corner] != 0 or g[2 * corner + 1] != 0:
                at = i if corner == 0 else (j if corner == 1 else k)
                gx, gy = g[2 * corner], g[2 * corner + 1]
                add_projected(cam, vertices, at, K, R, gx, gy, sums, g_vertices)


@jit
def add_projected(cam, vertices, v, K, R, gx, gy, sums, g_vertices):
    """Gradient of a projected corner, per pixel, to the pose, K and the vertex."""
    x, y, inverse = cam[v, 0], cam[v, 1], 1.0 / cam[v, 2]
    qx = gx * K[0, 0] * inverse
    qy = (gx * K[0, 1] + gy * K[1, 1]) * inverse
    qz = -(qx * x + qy * y) * inverse
    add_point(vertices, v, v, v, 1.0, 0.0, 0.0, qx, qy, qz, sums)
    sums[12] += gx * x * inverse
    sums[13] += gx * y * inverse
    sums[14] += gx
    sums[15] += gy * y * inverse
    sums[16] += gy
    if len(g_vertices) > 0:
        add_vertex(R, v, qx, qy, qz, g_vertices)
