"""Numba kernel that renders one band of rows: visibility, colour, depth and soft mask."""

from __future__ import annotations

import math

import numpy as np

from self6d.numba_tools import LANES, inner, jit, u64
from self6d.rendering.cpu.kernels import BAND, rasterise, screen_barycentrics
from self6d.rendering.cpu.soft import find_uncovered, soften
from self6d.rendering.shading import CREASE_COS


@jit
def forward_bands(
    first, end, cam, pix, faces, boxes, starts, entries, K, R, colors, normals, uv, texels, mips,
    levels, light, near, sigma_inv, soft, rgb, depth, mask, face_id, free, reaching, reach,
):  # fmt: skip
    """`forward_band` for the bands first <= k < end.

    Args:
        boxes, starts, entries: from `prepare`.
        free: (bands, BAND W + LANES) float32, out, see `soften`.
        reaching: (N,) int32, out, by band like `entries`: those that reach an uncovered pixel.
        reach: (bands,) int32, out, how many of a band do.
    """
    for k in range(first, end):
        row0, row1 = k * BAND, min((k + 1) * BAND, depth.shape[0])
        own = slice(starts[k], starts[k + 1])
        reach[k] = forward_band(
            cam, pix, faces, boxes, entries[own], K, R, colors, normals, uv, texels, mips, levels,
            light, near, sigma_inv, row0, row1, soft, rgb, depth, mask, face_id, free[k],
            reaching[own],
        )  # fmt: skip


@jit
def forward_band(
    cam, pix, faces, boxes, entries, K, R, colors, normals, uv, texels, mips, levels, light,
    near, sigma_inv, row0, row1, soft, rgb, depth, mask, face_id, free, reaching,
):  # fmt: skip
    """Render rows row0 <= row < row1 of one item.

    Args:
        cam, pix, boxes, entries: from `prepare`, entries of this band. faces: (F, 3).
        colors, normals: (V, 3). uv: (F, 3, 2). mips: (15, 3). light: (5 + 6 L,) or (0,).
        rgb (3, H, W), depth, mask, face_id (H, W): outputs. free, reaching: see `soften`.

    Returns:
        how many faces reach an uncovered pixel.
    """
    height, width = depth.shape
    rows = row1 - row0
    rgb[:, row0:row1] = 0
    depth[row0:row1] = 0
    mask[row0:row1] = 0
    if len(entries) == 0:
        face_id[row0:row1] = -1
        return 0
    seen, nearest = np.empty((rows, width + LANES), np.int32), np.empty((rows, width + LANES))
    rasterise(cam, pix, faces, boxes, entries, K, near, row0, row1, seen, nearest)
    if levels > 0 or len(light) > 0:
        shade(
            cam, pix, faces, entries, K, R, colors, normals, uv, texels, mips, levels, light, row0,
            seen, rgb, depth,
        )  # fmt: skip
    else:
        shade_plain(cam, pix, faces, entries, K, colors, row0, seen, rgb, depth)
    for n in range(rows):
        r, row = u64(n), u64(row0 + n)
        for m in range(width):
            c = u64(m)
            face_id[row, c], mask[row, c] = -1, 0
            if seen[r, c] >= 0:
                face_id[row, c], mask[row, c] = entries[u64(seen[r, c])], 1
    if not soft:
        return 0
    rank = np.empty((rows, width + 1), np.int32)
    column, line = np.zeros(len(free), np.float32), np.zeros(len(free), np.float32)
    find_uncovered(seen, rank, column, line)
    found = soften(
        pix,
        faces,
        boxes,
        entries,
        sigma_inv,
        row0,
        row1,
        height,
        rank,
        column,
        line,
        free,
        reaching,
    )
    for n in range(rows):
        row = u64(row0 + n)
        for m in range(rank[n, 0], rank[n, width]):
            mask[row, u64(column[u64(m)])] = 1 - free[u64(m)]
    return found


@jit
def shade_plain(cam, pix, faces, entries, K, colors, row0, seen, rgb, depth):
    """Depth and colours of the corners, interpolated.

    1 / z and colour / z are linear in the image: four planes for each face that is seen.
    """
    rows, width = len(seen), depth.shape[1]
    planes, known = np.empty((len(entries), 12)), np.zeros(len(entries), np.uint8)
    for n in range(rows):
        r, row, y = u64(n), u64(row0 + n), row0 + n + 0.5
        for column in range(width):
            c = u64(column)
            if seen[r, c] < 0:
                continue
            e = u64(seen[r, c])
            if not known[e]:
                known[e] = 1
                color_planes(cam, pix, faces, u64(entries[e]), K, colors, planes, e)
            x = column + 0.5
            z = 1.0 / (planes[e, 0] * x + planes[e, 1] * y + planes[e, 2])
            rgb[0, row, c] = (planes[e, 3] * x + planes[e, 4] * y + planes[e, 5]) * z
            rgb[1, row, c] = (planes[e, 6] * x + planes[e, 7] * y + planes[e, 8]) * z
            rgb[2, row, c] = (planes[e, 9] * x + planes[e, 10] * y + planes[e, 11]) * z
            depth[row, c] = z


@inner
def color_planes(cam, pix, faces, f, K, colors, out, e):
    """1 / z, red / z, green / z and blue / z as A x + B y + C, pixels: A, B, C to out[e] (12,)."""
    i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
    a0, b0, c0, a1, b1, c1, a2, b2, c2 = screen_barycentrics(cam, pix, K, i, j, k)
    out[e, 0], out[e, 1], out[e, 2] = a0 + a1 + a2, b0 + b1 + b2, c0 + c1 + c2
    # no loop: references to arrays are then not counted
    u, v, w = colors[i, 0], colors[j, 0], colors[k, 0]
    out[e, 3], out[e, 4] = u * a0 + v * a1 + w * a2, u * b0 + v * b1 + w * b2
    out[e, 5] = u * c0 + v * c1 + w * c2
    u, v, w = colors[i, 1], colors[j, 1], colors[k, 1]
    out[e, 6], out[e, 7] = u * a0 + v * a1 + w * a2, u * b0 + v * b1 + w * b2
    out[e, 8] = u * c0 + v * c1 + w * c2
    u, v, w = colors[i, 2], colors[j, 2], colors[k, 2]
    out[e, 9], out[e, 10] = u * a0 + v * a1 + w * a2, u * b0 + v * b1 + w * b2
    out[e, 11] = u * c0 + v * c1 + w * c2


@jit
def shade(
    cam, pix, faces, entries, K, R, colors, normals, uv, texels, mips, levels, light, row0, seen,
    rgb, depth,
):  # fmt: skip
    """Depth and colour of whatever is seen, textured and lit."""
    rows, width = len(seen), depth.shape[1]
    last = -1
    f = i = j = k = u64(0)
    w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(rows):
        y, r = row0 + n + 0.5, u64(row0 + n)
        dy = (y - K[1, 2]) / K[1, 1]
        for column in range(width):
            c = u64(column)
            e = seen[u64(n), c]
            if e < 0:
                continue
            x = column + 0.5
            dx = (x - K[0, 2] - K[0, 1] * dy) / K[0, 0]
            if e != last:
                last, f = e, u64(entries[u64(e)])
                i, j, k = u64(faces[f, 0]), u64(faces[f, 1]), u64(faces[f, 2])
                w0a, w0b, w0c, w1a, w1b, w1c, w2a, w2b, w2c = screen_barycentrics(
                    cam, pix, K, i, j, k
                )
            b0, b1, b2 = w0a * x + w0b * y + w0c, w1a * x + w1b * y + w1c, w2a * x + w2b * y + w2c
            z = 1.0 / (b0 + b1 + b2)
            b0, b1, b2 = b0 * z, b1 * z, b2 * z
            if levels > 0:
                u = b0 * uv[f, 0, 0] + b1 * uv[f, 1, 0] + b2 * uv[f, 2, 0]
                v = b0 * uv[f, 0, 1] + b1 * uv[f, 1, 1] + b2 * uv[f, 2, 1]
                level = texture_level(cam, i, j, k, uv[f], mips, dx, dy, z, K[0, 0] * K[1, 1])
                red, green, blue = trilinear(texels, mips, levels, level, u, v)
            else:
                red = b0 * colors[i, 0] + b1 * colors[j, 0] + b2 * colors[k, 0]
                green = b0 * colors[i, 1] + b1 * colors[j, 1] + b2 * colors[k, 1]
                blue = b0 * colors[i, 2] + b1 * colors[j, 2] + b2 * colors[k, 2]
            if len(light) > 0:
                nx, ny, nz = shading_normal(cam, normals, R, i, j, k, b0, b1, b2, dx, dy)
                red, green, blue = lit(red, green, blue, nx, ny, nz, dx, dy, light)
            rgb[0, r, c] = red
            rgb[1, r, c] = green
            rgb[2, r, c] = blue
            depth[r, c] = z


@inner
def face_normal(cam, i, j, k):
    """Cross product of two edges; twice the face's area long."""
    ax, ay, az = cam[j, 0] - cam[i, 0], cam[j, 1] - cam[i, 1], cam[j, 2] - cam[i, 2]
    bx, by, bz = cam[k, 0] - cam[i, 0], cam[k, 1] - cam[i, 1], cam[k, 2] - cam[i, 2]
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@jit
def texture_level(cam, i, j, k, uv, mips, dx, dy, z, fxfy):
    """Mip level whose texels are as large as the pixel.

    A pixel covers z^2 |n| / (|n.d| fx fy) of the face's plane, n being the unscaled normal; texels
    per area of plane are |du x dv| Tw Th / |n|.
    """
    nx, ny, nz = face_normal(cam, i, j, k)
    du, dv = uv[1, 0] - uv[0, 0], uv[1, 1] - uv[0, 1]
    eu, ev = uv[2, 0] - uv[0, 0], uv[2, 1] - uv[0, 1]
    area = abs(du * ev - dv * eu) * mips[0, 1] * mips[0, 2]
    facing = max(abs(nx * dx + ny * dy + nz), 1e-30)
    return 0.5 * math.log2(max(area * z * z / (facing * fxfy), 1e-12))


@jit
def bilinear(texels, first, w, h, u, v):
    """Texture at (u, v), repeating, and its derivatives: r, g, b, then each by u, then by v."""
    x, y = u * w - 0.5, (1 - v) * h - 0.5
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = x - x0, y - y0
    c0, r0 = int(x0) % w, int(y0) % h
    c1, r1 = (c0 + 1) % w, (r0 + 1) % h
    t00, t01 = texels[first + r0 * w + c0], texels[first + r0 * w + c1]
    t10, t11 = texels[first + r1 * w + c0], texels[first + r1 * w + c1]
    out = np.empty(9, np.float64)
    for channel in range(3):
        shift = 8 * channel
        a, b = ((t00 >> shift) & 255) / 255.0, ((t01 >> shift) & 255) / 255.0
        c, d = ((t10 >> shift) & 255) / 255.0, ((t11 >> shift) & 255) / 255.0
        top, low = a + (b - a) * fx, c + (d - c) * fx
        out[channel] = top + (low - top) * fy
        out[3 + channel] = ((b - a) * (1 - fy) + (d - c) * fy) * w
        out[6 + channel] = -(low - top) * h
    return out


@jit
def trilinear_all(texels, mips, levels, level, u, v):
    """Colour and its derivatives by u and v (9 numbers) at a fractional mip level."""
    level = min(max(level, 0.0), levels - 1.0)
    fine = min(int(level), max(levels - 2, 0))
    share = level - fine
    out = bilinear(texels, mips[fine, 0], mips[fine, 1], mips[fine, 2], u, v)
    if share > 0:
        coarse = bilinear(texels, mips[fine + 1, 0], mips[fine + 1, 1], mips[fine + 1, 2], u, v)
        for n in range(9):
            out[n] += (coarse[n] - out[n]) * share
    return out


@jit
def trilinear(texels, mips, levels, level, u, v):
    """Colour at a fractional mip level."""
    out = trilinear_all(texels, mips, levels, level, u, v)
    return out[0], out[1], out[2]


@jit
def shading_normal(cam, normals, R, i, j, k, b0, b1, b2, dx, dy):
    """Unit normal in the camera frame, smooth where the surface is, facing the camera."""
    nx, ny, nz = face_normal(cam, i, j, k)
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx / length, ny / length, nz / length
    side = -1.0 if nx * dx + ny * dy + nz > 0 else 1.0
    sx, sy, sz = 0.0, 0.0, 0.0
    for n in range(3):
        vertex = i if n == 0 else (j if n == 1 else k)
        weight = b0 if n == 0 else (b1 if n == 1 else b2)
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        mx = R[0, 0] * x + R[0, 1] * y + R[0, 2] * z
        my = R[1, 0] * x + R[1, 1] * y + R[1, 2] * z
        mz = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z
        if nx * mx + ny * my + nz * mz < CREASE_COS:
            mx, my, mz = nx, ny, nz
        sx, sy, sz = sx + weight * mx, sy + weight * my, sz + weight * mz
    scale = side / max(math.sqrt(sx * sx + sy * sy + sz * sz), 1e-12)
    return sx * scale, sy * scale, sz * scale


@jit
def lit(red, green, blue, nx, ny, nz, dx, dy, light):
    """`Shading`'s equation at one pixel."""
    scale = -1.0 / math.sqrt(dx * dx + dy * dy + 1)
    vx, vy, vz = dx * scale, dy * scale, scale
    dr, dg, db = np.float64(light[0]), np.float64(light[1]), np.float64(light[2])
    sr, sg, sb = 0.0, 0.0, 0.0
    for n in range(5, len(light), 6):
        lx, ly, lz = light[n], light[n + 1], light[n + 2]
        facing = nx * lx + ny * ly + nz * lz
        if facing > 0:
            hx, hy, hz = vx + lx, vy + ly, vz + lz
            length = max(math.sqrt(hx * hx + hy * hy + hz * hz), 1e-12)
            halfway = max((nx * hx + ny * hy + nz * hz) / length, 0.0)
            shine = halfway ** light[4]
            dr, sr = dr + facing * light[n + 3], sr + shine * light[n + 3]
            dg, sg = dg + facing * light[n + 4], sg + shine * light[n + 4]
            db, sb = db + facing * light[n + 5], sb + shine * light[n + 5]
    return (
        min(max(red * dr + light[3] * sr, 0.0), 1.0),
        min(max(green * dg + light[3] * sg, 0.0), 1.0),
        min(max(blue * db + light[3] * sb, 0.0), 1.0),
    )
