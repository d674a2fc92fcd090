"""Nearest model points, exactly, for queries that come in a spatially coherent order.

A balanced tree of boxes (Friedman, Bentley and Finkel, 1977). Each search starts from the answer of
the query before it, which for one moved copy of a model after another is nearly always close: that
makes it several times faster than a tree that starts every search anew.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from self6d.evaluation.kernels import over_pairs

_LEAF = 8


class PointTree:
    """Search tree over one set of points.

    Attributes:
        points: (N, 3) float64, reordered so that neighbours in the array are neighbours in space.
    """

    def __init__(self, points: np.ndarray) -> None:
        points = np.array(points, np.float64, order="C")
        depth = max(0, int(np.ceil(np.log2(max(len(points), 1) / _LEAF))))
        order, self._boxes, self._ranges = _build(points, depth)
        self.points = points[order]

    def mean_nearest(self, A: np.ndarray, b: np.ndarray) -> np.ndarray:
        """avg over the tree's points x of the distance from A x + b to the nearest point.

        Args:
            A: (B, 3, 3) float64. b: (B, 3) float64.

        Returns:
            (B,) float64.
        """
        return over_pairs(_mean_nearest, len(A), self.points, self._boxes, self._ranges, A, b)


@njit(cache=True)
def _build(points, depth):
    """Order of the points by leaf, box (low, high) and point range of every node, root first."""
    nodes = 2 ** (depth + 1) - 1
    order = np.arange(len(points))
    boxes = np.empty((nodes, 2, 3))
    ranges = np.empty((nodes, 2), np.int64)
    ranges[0, 0], ranges[0, 1] = 0, len(points)
    for k in range(nodes):
        start, stop = ranges[k, 0], ranges[k, 1]
        for a in range(3):
            boxes[k, 0, a], boxes[k, 1, a] = np.inf, -np.inf
            for n in range(start, stop):
                value = points[order[n], a]
                boxes[k, 0, a] = min(boxes[k, 0, a], value)
                boxes[k, 1, a] = max(boxes[k, 1, a], value)
        if 2 * k + 2 < nodes:
            axis = np.argmax(boxes[k, 1] - boxes[k, 0])
            part, along = order[start:stop].copy(), np.empty(stop - start)
            for n in range(len(part)):  # slices that are assigned take seconds to compile
                along[n] = points[part[n], axis]
            ranks = np.argsort(along)
            for n in range(len(part)):
                order[start + n] = part[ranks[n]]
            middle = (start + stop) // 2
            ranges[2 * k + 1, 0], ranges[2 * k + 1, 1] = start, middle
            ranges[2 * k + 2, 0], ranges[2 * k + 2, 1] = middle, stop
    return order, boxes, ranges


@njit(cache=True, fastmath={"contract", "nsz"})
def _box_distance2(boxes, k, x, y, z):
    dx = max(boxes[k, 0, 0] - x, x - boxes[k, 1, 0], 0.0)
    dy = max(boxes[k, 0, 1] - y, y - boxes[k, 1, 1], 0.0)
    dz = max(boxes[k, 0, 2] - z, z - boxes[k, 1, 2], 0.0)
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _mean_nearest(first, end, points, boxes, ranges, A, b, out):
    first_leaf = len(boxes) // 2
    for i in range(first, end):
        node = np.empty(64, np.int64)
        bound = np.empty(64)
        total = 0.0
        near = 0
        for n in range(len(points)):
            p, q, r = points[n, 0], points[n, 1], points[n, 2]
            x = A[i, 0, 0] * p + A[i, 0, 1] * q + A[i, 0, 2] * r + b[i, 0]
            y = A[i, 1, 0] * p + A[i, 1, 1] * q + A[i, 1, 2] * r + b[i, 1]
            z = A[i, 2, 0] * p + A[i, 2, 1] * q + A[i, 2, 2] * r + b[i, 2]
            u, v, w = points[near, 0] - x, points[near, 1] - y, points[near, 2] - z
            best = u * u + v * v + w * w
            node[0], bound[0], top = 0, 0.0, 1
            while top > 0:
                top -= 1
                k = node[top]
                if bound[top] >= best:
                    continue
                while k < first_leaf:  # descend to the nearer child, keep the other
                    left, right = 2 * k + 1, 2 * k + 2
                    dl = _box_distance2(boxes, left, x, y, z)
                    dr = _box_distance2(boxes, right, x, y, z)
                    if dl > dr:
                        left, right, dl, dr = right, left, dr, dl
                    if dr < best:
                        node[top], bound[top] = right, dr
                        top += 1
                    if dl >= best:
                        break
                    k = left
                if k < first_leaf:
                    continue
                for m in range(ranges[k, 0], ranges[k, 1]):
                    u, v, w = points[m, 0] - x, points[m, 1] - y, points[m, 2] - z
                    d = u * u + v * v + w * w
                    if d < best:
                        best, near = d, m
            total += np.sqrt(best)
        out[i] = total / len(points)
