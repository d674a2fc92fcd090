"""Cameras, places of objects and biases of their distances by least squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from self6d.tracking.still.start import Layout
from self6d.tracking.still.views import NOISE, RADIUS, Noise, Off, Views, turned_by

LEAST = Noise(side=0.005, far=0.01, turn=0.03)  # no less is believed
MOST = 3.0  # times the usual noise
BIAS = 0.03  # of an object's log-distances, standard deviation
WIDTHS = (6.0, 3.0, 1.5, 1.0)  # of the noise, round by round
AT_LAST = (2.0, 1.0, 1.0)  # likewise, from a state that is nearly right
STEPS = 25  # of a round
SETTLED = 1e-5  # change of the cost, relative, at which a round ends
AGREE = 4.0  # deviations within which a pose agrees, ...
AGREE_ANYWAY = Noise(side=0.06, far=0.1, turn=0.3)  # ... or if it is within these

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Bundle:
    """All unknowns of some pieces of a recording; each piece's world is held by damping alone.

    Args:
        views: poses of single images; those of frames or items without a place do not count.
        layouts: of the pieces, to begin with.

    Attributes:
        state: cameras R (F, 3, 3), t (F, 3); places R (P, 3, 3), middles (P, 3); biases by kind.
        noise: as measured so far.
    """

    def __init__(self, views: Views, layouts: Sequence[Layout]) -> None:
        self.all = views
        self._frames = [(n, f) for n, piece in enumerate(layouts) for f in sorted(piece.camera)]
        self._posts = [(n, k) for n, piece in enumerate(layouts) for k in sorted(piece.place)]
        self._pieces = len(layouts)
        frame = {f: place for place, (_, f) in enumerate(self._frames)}
        piece = {f: n for n, f in self._frames}
        post = {at: place for place, at in enumerate(self._posts)}
        pairs = list(zip(views.frame.tolist(), views.item.tolist(), strict=True))
        inside = np.array([f in piece and (piece[f], k) in post for f, k in pairs], bool)
        self.rows = np.nonzero(inside)[0]
        self.views = views[self.rows]
        known = [pairs[n] for n in self.rows.tolist()]
        self.at = np.array([frame[f] for f, _ in known], np.int64)
        self.of = np.array([post[piece[f], k] for f, k in known], np.int64)
        self.noise = NOISE
        cameras = [layouts[n].camera[f] for n, f in self._frames]
        places = [layouts[n].place[k] for n, k in self._posts]
        self.state: State = (
            np.array([R for R, _ in cameras]),
            np.array([t for _, t in cameras]),
            np.array([R for R, _ in places]),
            np.array([middle for _, middle in places]),
            np.zeros(int(views.kind.max()) + 1),
        )

    def solve(self, widths: Sequence[float] = WIDTHS) -> None:
        """Bring `state` to its best, with noise measured before each round from the second on."""
        for number, width in enumerate(widths):
            if number:
                self.noise = self._measured()
            self.state = self._round(self.state, self.noise.wider(width), self.views.weight)

    def layouts(self) -> list[Layout]:
        """Of each piece, as solved."""
        Rc, tc, Rp, tp, _ = self.state
        found = [Layout() for _ in range(self._pieces)]
        for place, (n, f) in enumerate(self._frames):
            found[n].camera[f] = Rc[place], tc[place]
        for place, (n, k) in enumerate(self._posts):
            found[n].place[k] = Rp[place], tp[place]
        return found

    def bias(self) -> dict[int, float]:
        """By kind, of those that have a place anywhere."""
        return {k: float(self.state[4][k]) for k in np.unique(self.views.kind).tolist()}

    def agrees(self, state: State) -> np.ndarray:
        """Which of all poses agree with cameras and places: (N,) bool."""
        off, noise, anyway = self._off(state), self.noise, AGREE_ANYWAY
        agrees = np.zeros(len(self.all), bool)
        agrees[self.rows] = off.within(
            Noise(
                side=max(AGREE * noise.side, anyway.side),
                far=max(AGREE * noise.far, anyway.far),
                turn=max(AGREE * noise.turn, anyway.turn),
            )
        )
        return agrees

    def without(self, item: int) -> State:
        """Cameras as the other items have them, and the item where it then fits best.

        The pieces are one.
        """
        place = self._posts.index((0, item))
        own = self.of == place
        state = self._round(self.state, self.noise, self.views.weight * ~own)
        first = 6 * (len(self._frames) + place)
        kinds = np.unique(self.views.kind[own])
        free = np.concatenate((np.arange(first, first + 6), self._bias_at(kinds)))
        for width in AT_LAST:
            state = self._round(state, self.noise.wider(width), self.views.weight * own, free)
        return state

    def _bias_at(self, item: np.ndarray) -> np.ndarray:
        return 6 * (len(self._frames) + len(self._posts)) + item

    def _off(self, state: State) -> Off:
        Rc, tc, Rp, tp, bias = state
        turned = np.einsum("nij,nj->ni", Rc[self.at], tp[self.of])
        own = bias[self.views.kind]
        return self.views.off(Rc[self.at] @ Rp[self.of], turned + tc[self.at], own)

    def _cost(self, off: Off, bias: np.ndarray, noise: Noise, weight: np.ndarray) -> float:
        place, turn = off.believed(noise)  # Cauchy's loss is minus their logarithm
        apart = float(-(np.log(place * turn) * weight).sum())
        return apart + float(np.log1p((bias / BIAS) ** 2).sum())

    def _round(
        self, state: State, noise: Noise, weight: np.ndarray, free: np.ndarray | None = None
    ) -> State:
        """Levenberg and Marquardt, weights anew at each step; only `free` unknowns move."""
        damping = 1e-4
        off = self._off(state)
        cost = self._cost(off, state[4], noise, weight)
        for _ in range(STEPS):
            H, g = self._normal(state, off, noise, weight)
            step, better = np.zeros(len(g)), None
            chosen = np.arange(len(g)) if free is None else free
            H = H[chosen][:, chosen]
            for _ in range(6):
                held = csc_matrix(H + diags(damping * H.diagonal() + 1e-9))
                step[chosen] = -splu(held).solve(g[chosen])
                moved = self._moved(state, step)
                after = self._off(moved)
                now = self._cost(after, moved[4], noise, weight)
                if now < cost:
                    better = moved, after, now
                    break
                damping *= 8
            if better is None:
                break
            gain = cost - better[2]
            state, off, cost = better
            damping = max(damping / 5, 1e-7)
            if gain < SETTLED * cost:
                break
        return state

    def _normal(
        self, state: State, off: Off, noise: Noise, weight: np.ndarray
    ) -> tuple[csc_matrix, np.ndarray]:
        """Half the second and first derivatives of the cost, as Gauss and Newton have them."""
        Rc, _, _, tp, bias = state
        n = len(self.views)
        R = Rc[self.at]
        turned = np.einsum("nij,nj->ni", R, tp[self.of])
        J = np.zeros((n, 6, 13))
        J[:, :, :6] = off.by_camera(turned, noise)
        J[:, 3:, 6:9] = J[:, 3:, :3] @ R
        J[:, :3, 9:12] = J[:, :3, 3:6] @ R
        J[:, 2, 12] = 1 / noise.far
        w = np.repeat(np.column_stack(off.believed(noise)), 3, axis=1)
        w *= weight[:, None] / RADIUS**2
        r = np.column_stack(off.scaled(noise))
        column = np.column_stack(
            (
                6 * self.at[:, None] + np.arange(6),
                6 * (len(Rc) + self.of[:, None]) + np.arange(6),
                self._bias_at(self.views.kind),
            )
        )
        size = int(self._bias_at(np.array([len(bias)]))[0])
        blocks = np.einsum("nki,nk,nkj->nij", J, w, J)
        i = np.broadcast_to(column[:, :, None], blocks.shape)
        j = np.broadcast_to(column[:, None], blocks.shape)
        H = coo_matrix((blocks.ravel(), (i.ravel(), j.ravel())), (size, size)).tocsc()
        g = np.bincount(column.ravel(), np.einsum("nki,nk->ni", J, w * r).ravel(), size)
        at, prior = self._bias_at(np.arange(len(bias))), 1 / (BIAS**2 + bias**2)
        extra = np.zeros(size)
        extra[at] = prior
        g[at] += prior * bias
        return H + diags(extra), g

    def _moved(self, state: State, step: np.ndarray) -> State:
        Rc, tc, Rp, tp, bias = state
        moves = step[: 6 * (len(Rc) + len(Rp))].reshape(-1, 6)
        camera, place = moves[: len(Rc)], moves[len(Rc) :]
        return (
            turned_by(camera[:, :3], Rc),
            tc + camera[:, 3:],
            turned_by(place[:, :3], Rp),
            tp + place[:, 3:],
            bias + step[len(step) - len(bias) :],
        )

    def _measured(self) -> Noise:
        """From medians, so that poses of other things do not count; less what was fitted to it."""
        off, n = self._off(self.state), len(self.views)
        frames, posts = len(self._frames), len(self._posts)
        found = (
            (np.linalg.norm(off.side, axis=1) / 1.1774, 2 * n, 5 * frames + 2 * posts, "side"),
            (np.abs(off.far) / 0.6745, n, posts, "far"),
            (np.linalg.norm(off.turn, axis=1) / 1.5382, 3 * n, 3 * posts, "turn"),
        )  # medians of the length of 2, 1 and 3 normal variables
        noise = {}
        for apart, count, fitted, name in found:
            usual, least = getattr(NOISE, name), getattr(LEAST, name)
            if count - fitted < 0.1 * count:  # hardly anything is left to measure
                noise[name] = usual
                continue
            measured = float(np.median(apart)) * np.sqrt(count / (count - fitted))
            noise[name] = float(np.clip(measured, least, MOST * usual))
        return Noise(**noise)
