"""Rasteriser and shader of the sample's world.

They share no code with `self6d.rendering`: the sample must look unlike anything stage 1 can draw.
World frame: metres, z up, the table top is z = 0.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from self6d.sample.surfaces import (
    FAST,
    FLOOR_Z,
    GLOSS,
    ROOM_HALF,
    SHINE,
    TABLE_HALF,
    environment,
    paint,
    room_albedo,
    table_albedo,
)

# what a pixel shows besides face numbers
TABLE, FLOOR, WALL = -2, -3, -4


@njit(**FAST)
def rasterise(tri, fx, fy, cx, cy, height, width):
    """Nearest face of every pixel.

    Args:
        tri: (F, 3, 3) float32, camera frame, metres. fx, fy, cx, cy: pixels, centres at + 0.5.

    Returns:
        inverse depth (H, W) float32, 0 where empty; face (H, W) int32, -1 where empty.
    """
    inverse = np.zeros((height, width), np.float32)
    face = np.full((height, width), -1, np.int32)
    for f in range(tri.shape[0]):
        za, zb, zc = tri[f, 0, 2], tri[f, 1, 2], tri[f, 2, 2]
        if za < 0.03 or zb < 0.03 or zc < 0.03:
            continue
        ax, ay = fx * tri[f, 0, 0] / za + cx, fy * tri[f, 0, 1] / za + cy
        bx, by = fx * tri[f, 1, 0] / zb + cx, fy * tri[f, 1, 1] / zb + cy
        dx, dy = fx * tri[f, 2, 0] / zc + cx, fy * tri[f, 2, 1] / zc + cy
        area = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
        if abs(area) < 1e-12:
            continue
        x0 = max(0, math.ceil(min(ax, bx, dx) - 0.5))
        x1 = min(width - 1, math.floor(max(ax, bx, dx) - 0.5))
        y0 = max(0, math.ceil(min(ay, by, dy) - 0.5))
        y1 = min(height - 1, math.floor(max(ay, by, dy) - 0.5))
        ia, ib, ic = 1 / za, 1 / zb, 1 / zc
        for i in range(y0, y1 + 1):
            py = i + 0.5
            for j in range(x0, x1 + 1):
                px = j + 0.5
                wa = ((bx - px) * (dy - py) - (by - py) * (dx - px)) / area
                wb = ((dx - px) * (ay - py) - (dy - py) * (ax - px)) / area
                wc = 1 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                iz = wa * ia + wb * ib + wc * ic
                if iz > inverse[i, j]:
                    inverse[i, j] = iz
                    face[i, j] = f
    return inverse, face


@njit(**FAST, forceinline=True)
def _behind(eye, ray, z, hit):
    """Table, floor or wall where they are nearer than z along the ray: depth and what it is."""
    if ray[2] < 0:
        zt = -eye[2] / ray[2]
        x, y = eye[0] + zt * ray[0], eye[1] + zt * ray[1]
        if zt < z and abs(x) < TABLE_HALF[0] and abs(y) < TABLE_HALF[1]:
            return zt, TABLE
        zt = (FLOOR_Z - eye[2]) / ray[2]
        if zt < z:
            z, hit = zt, FLOOR
    for a in range(2):
        if ray[a] != 0:
            zt = ((ROOM_HALF if ray[a] > 0 else -ROOM_HALF) - eye[a]) / ray[a]
            if 0 < zt < z:
                z, hit = zt, WALL
    return z, hit


@njit(**FAST, forceinline=True)
def _interpolate(p, f, corner, normal, color, local, n, albedo, obj):
    """Normal, albedo and object-frame position at the point p of face f."""
    uu, uv, vv, qu, qv = 0.0, 0.0, 0.0, 0.0, 0.0
    for a in range(3):
        u = corner[f, 1, a] - corner[f, 0, a]
        v = corner[f, 2, a] - corner[f, 0, a]
        q = p[a] - corner[f, 0, a]
        uu, uv, vv = uu + u * u, uv + u * v, vv + v * v
        qu, qv = qu + q * u, qv + q * v
    det = max(uu * vv - uv * uv, 1e-18)
    w1 = min(max((vv * qu - uv * qv) / det, 0.0), 1.0)
    w2 = min(max((uu * qv - uv * qu) / det, 0.0), 1.0)
    w0 = max(1 - w1 - w2, 0.0)
    for a in range(3):
        n[a] = w0 * normal[f, 0, a] + w1 * normal[f, 1, a] + w2 * normal[f, 2, a]
        albedo[a] = w0 * color[f, 0, a] + w1 * color[f, 1, a] + w2 * color[f, 2, a]
        obj[a] = w0 * local[f, 0, a] + w1 * local[f, 1, a] + w2 * local[f, 2, a]


@njit(**FAST, forceinline=True)
def _dark(l, p, shadow, rotation, position, focal):
    """Whether lamp l's shadow map says that something hides p from it."""
    size = shadow.shape[1]
    q0, q1, q2 = p[0] - position[l, 0], p[1] - position[l, 1], p[2] - position[l, 2]
    z = rotation[l, 2, 0] * q0 + rotation[l, 2, 1] * q1 + rotation[l, 2, 2] * q2
    if z <= 0.05:
        return False
    x = rotation[l, 0, 0] * q0 + rotation[l, 0, 1] * q1 + rotation[l, 0, 2] * q2
    y = rotation[l, 1, 0] * q0 + rotation[l, 1, 1] * q1 + rotation[l, 1, 2] * q2
    j, i = math.floor(focal * x / z + size / 2), math.floor(focal * y / z + size / 2)
    if i < 0 or j < 0 or i >= size or j >= size:
        return False
    return shadow[l, i, j] * (z - 0.006) > 1


@njit(**FAST, forceinline=True)
def _lamp(l, p, n, view, strength, shine, shadow, rotation, position, focal):
    """Diffuse and specular share of lamp l at p, both over distance squared (Blinn, 1977)."""
    x, y, z = position[l, 0] - p[0], position[l, 1] - p[1], position[l, 2] - p[2]
    d2 = x * x + y * y + z * z
    d = math.sqrt(d2)
    nl = (x * n[0] + y * n[1] + z * n[2]) / d
    if nl <= 0 or _dark(l, p, shadow, rotation, position, focal):
        return 0.0, 0.0
    x, y, z = x / d - view[0], y / d - view[1], z / d - view[2]
    hn = (x * n[0] + y * n[1] + z * n[2]) / math.sqrt(x * x + y * y + z * z + 1e-12)
    spot = strength * (shine + 8) / 25 * hn**shine if hn > 0.75 else 0.0
    return nl / d2, spot * nl / d2


@njit(**FAST)
def shade(
    inverse, face, R, t, fx, fy, cx, cy,
    corner, normal, color, local, material_of, materials, accent, label_frame, label_image,
    table_style, light_position, light_color, light_rotation, light_focal, shadow, ambient,
):  # fmt: skip
    """Linear radiance of a rasterised view, table and room included.

    Args:
        inverse, face: of `rasterise`. R (3, 3), t (3,): world to camera.
        corner, normal, color, local: (F, 3, 3) per face corner: world position, world normal,
            linear albedo, object-frame position. material_of: (F,) row of `materials` (M, 6).
        accent: (M, 3) second colour of patterns. label_frame: (M, 4, 3) centre, u, v (scaled by
            1 / half side), outward normal, object frame. label_image: (L, h, w, 4).
        table_style: (8,) kind, two colours, gloss. light_*: (N, ...) point lights; shadow:
            (N, S, S) inverse depth. ambient: (3,).

    Returns:
        rgb (H, W, 3) float32 linear, not negative.
        what (H, W) int32, face number or TABLE, FLOOR, WALL.
        z (H, W) float32, metres along the optical axis.
        gloss (H, W) float32 strength of highlights seen; facing (H, W) cosine to the viewer.
    """
    height, width = inverse.shape
    rgb = np.zeros((height, width, 3), np.float32)
    what = np.zeros((height, width), np.int32)
    depth = np.zeros((height, width), np.float32)
    gloss = np.zeros((height, width), np.float32)
    facing = np.zeros((height, width), np.float32)
    eye = -(R.T @ t)
    n, p, albedo, obj, ray = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5 - cx) / fx, (i + 0.5 - cy) / fy
            for a in range(3):  # unit depth a step
                ray[a] = R[0, a] * x + R[1, a] * y + R[2, a]
            f = face[i, j]
            z, hit = _behind(eye, ray, 1 / inverse[i, j] if f >= 0 else 1e9, f)
            length = math.sqrt(x * x + y * y + 1)
            for a in range(3):
                p[a] = eye[a] + z * ray[a]
                ray[a] /= length
                n[a] = 0.0
            strength, shine, sky = 0.02, 8.0, 1.0
            if hit >= 0:
                _interpolate(p, f, corner, normal, color, local, n, albedo, obj)
                m = material_of[f]
                strength, shine = materials[m, GLOSS], materials[m, SHINE]
                paint(obj, m, materials, accent, label_frame, label_image, albedo)
                sky = 0.55 + 0.45 * min(1.0, max(p[2], 0.0) / 0.05)  # the table is near
            elif hit == TABLE:
                n[2] = 1.0
                strength, shine = table_style[7], 30.0
                table_albedo(p[0], p[1], table_style, albedo)
            elif hit == FLOOR:
                n[2] = 1.0
                room_albedo(p, True, albedo)
            else:
                a = 0 if abs(p[0]) > abs(p[1]) else 1
                n[a] = -1.0 if p[a] > 0 else 1.0
                room_albedo(p, False, albedo)
            norm = math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + 1e-9
            nv = -(n[0] * ray[0] + n[1] * ray[1] + n[2] * ray[2]) / norm
            for a in range(3):
                n[a] /= norm if nv >= 0 else -norm
            nv = abs(nv)
            sky *= 0.6 + 0.4 * n[2]
            mirrored, shown = 0.0, 0.0
            if strength > 0.05:
                mirrored = (
                    strength
                    * (0.25 + 0.75 * (1 - nv) ** 4)
                    * environment(
                        ray[0] + 2 * nv * n[0], ray[1] + 2 * nv * n[1], ray[2] + 2 * nv * n[2]
                    )
                )
                shown = 0.3 * mirrored
            for c in range(3):
                rgb[i, j, c] = ambient[c] * (albedo[c] * sky + mirrored)
            for l in range(light_position.shape[0]):
                diffuse, spot = _lamp(
                    l, p, n, ray, strength, shine, shadow, light_rotation, light_position,
                    light_focal,
                )  # fmt: skip
                shown += spot
                for c in range(3):
                    rgb[i, j, c] += light_color[l, c] * (albedo[c] * diffuse + spot)
            what[i, j], depth[i, j] = hit, z
            gloss[i, j], facing[i, j] = shown, nv
    return rgb, what, depth, gloss, facing
