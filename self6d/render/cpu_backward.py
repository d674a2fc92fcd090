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
from self6d.render.cpu_kernels import (
    FLOOR,
    barycentrics,
    count_uncovered,
    hit_probability,
    jit,
    scaled_corners,
    segment,
    soft_box,
)

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
    gb = np.zeros(3)
    for row in range(row0, row1):
        dy = (row + 0.5 - K[1, 2]) / K[1, 1]
        for column in range(width):
            f = face_id[row, column]
            if f < 0:
                continue
            dx = (column + 0.5 - K[0, 2] - K[0, 1] * dy) / K[0, 0]
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            b0, b1, b2, z = barycentrics(cam, pix, i, j, k, column + 0.5, row + 0.5, dx, dy)
            nx, ny, nz = face_normal(cam, i, j, k)
            facing, square = nx * dx + ny * dy + nz, nx * nx + ny * ny + nz * nz
            if facing == 0 or square == 0:
                continue
            gz = np.float64(g_depth[row, column]) if g_depth.size > 0 else 0.0
            qx, qy, qz = 0.0, 0.0, 0.0
            if g_rgb.size > 0:
                gr, gg, gbl = g_rgb[0, row, column], g_rgb[1, row, column], g_rgb[2, row, column]
                if levels > 0:
                    u = b0 * uv[f, 0, 0] + b1 * uv[f, 1, 0] + b2 * uv[f, 2, 0]
                    v = b0 * uv[f, 0, 1] + b1 * uv[f, 1, 1] + b2 * uv[f, 2, 1]
                    level = texture_level(cam, i, j, k, uv[f], mips, dx, dy, z, K[0, 0] * K[1, 1])
                    c = trilinear_all(texels, mips, levels, level, u, v)
                    gu = gr * c[3] + gg * c[4] + gbl * c[5]
                    gv = gr * c[6] + gg * c[7] + gbl * c[8]
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
            x = -z * qx / K[0, 0]
            y = (-z * qy - x * K[0, 1]) / K[1, 1]
            sums[12] -= x * dx
            sums[13] -= x * dy
            sums[14] -= x
            sums[15] -= y * dy
            sums[16] -= y
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
    """Soft mask: d mask / d d2_f = -sigma_inv p_f prod_{g != f} (1 - p_g)."""
    height, width = face_id.shape
    total = np.empty((row1 - row0 + 1, width + 1), np.int32)
    if count_uncovered(face_id[row0:row1], total) == 0:
        return
    sx, sy = 2.0 / width, 2.0 / height
    g = np.empty((3, 2))
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
        g[:] = 0
        for row in range(top, bottom + 1):
            py = (row + 0.5) * sy
            for column in range(left, right + 1):
                if face_id[row, column] >= 0 or g_mask[row, column] == 0:
                    continue
                px = (column + 0.5) * sx
                near, s = segment(px, py, x0, y0, ux, uy, iu)
                a, b, cx, cy = 0, 1, x0 + s * ux, y0 + s * uy
                d1, s1 = segment(px, py, x1, y1, vx, vy, iv)
                if d1 < near:
                    near, s, a, b, cx, cy = d1, s1, 1, 2, x1 + s1 * vx, y1 + s1 * vy
                d2, s2 = segment(px, py, x2, y2, wx, wy, iw)
                if d2 < near:
                    near, s, a, b, cx, cy = d2, s2, 2, 0, x2 + s2 * wx, y2 + s2 * wy
                if near * sigma_inv <= FLOOR:
                    continue
                p, miss = hit_probability(near * sigma_inv)
                scale = 2 * g_mask[row, column] * sigma_inv * p * (free[row, column] / miss)
                gx, gy = scale * (px - cx) * sx, scale * (py - cy) * sy
                g[a, 0] += (1 - s) * gx
                g[a, 1] += (1 - s) * gy
                g[b, 0] += s * gx
                g[b, 1] += s * gy
        for corner in range(3):
            if g[corner, 0] == 0 and g[corner, 1] == 0:
                continue
            v = i if corner == 0 else (j if corner == 1 else k)
            add_projected(cam, vertices, v, K, R, g[corner, 0], g[corner, 1], sums, g_vertices)


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
