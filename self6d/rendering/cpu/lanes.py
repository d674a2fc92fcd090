"""Vector instructions in the renderer's innermost loops.

A loop over a few numbers becomes single instructions, or vectors behind a check that no array
overlaps another, made each time the loop is come to. Where such loops come by the ten thousand that
costs more than their work.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from self6d.numba_tools import LANES

PIXELS = 4  # in double precision at once
_INDEX = ir.IntType(32)


class _Lanes:
    """Numbers that one instruction works on, in what an `intrinsic` generates."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def all(self, number: Any) -> _Lanes:
        """One number in every lane, of the kind of these."""
        kind = self.value.type
        nothing = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(_INDEX, 0))
        order = ir.Constant(ir.VectorType(_INDEX, kind.count), [0] * kind.count)
        return _Lanes(self.builder, self.builder.shuffle_vector(first, nothing, order))

    def constant(self, numbers: list[float]) -> _Lanes:
        """These numbers, of the kind of these."""
        return _Lanes(self.builder, ir.Constant(self.value.type, numbers))

    def __add__(self, other: _Lanes) -> _Lanes:
        return _Lanes(self.builder, self.builder.fadd(self.value, other.value))

    def __mul__(self, other: _Lanes) -> _Lanes:
        return _Lanes(self.builder, self.builder.fmul(self.value, other.value))

    def __gt__(self, other: _Lanes) -> _Lanes:
        return _Lanes(self.builder, self.builder.fcmp_ordered(">", self.value, other.value))

    def __ge__(self, other: _Lanes) -> _Lanes:
        return _Lanes(self.builder, self.builder.fcmp_ordered(">=", self.value, other.value))

    def __and__(self, other: _Lanes) -> _Lanes:
        return _Lanes(self.builder, self.builder.and_(self.value, other.value))

    def where(self, yes: _Lanes, no: _Lanes) -> _Lanes:
        """`yes` where these are true, else `no`."""
        return _Lanes(self.builder, self.builder.select(self.value, yes.value, no.value))


class _Row:
    """A contiguous array of one dimension, read and written `lanes` numbers at a time."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, lanes: int) -> None:
        self.builder, self.align = builder, kind.dtype.bitwidth // 8
        self.data = context.make_array(kind)(context, builder, value).data
        self.pointer = ir.VectorType(context.get_data_type(kind.dtype), lanes).as_pointer()

    def __getitem__(self, at: Any) -> _Lanes:
        return _Lanes(self.builder, self.builder.load(self._place(at), align=self.align))

    def __setitem__(self, at: Any, lanes: _Lanes) -> None:
        self.builder.store(lanes.value, self._place(at), align=self.align)

    def _place(self, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [at]), self.pointer)


def _copy_lanes(_context: Any, to: Any, i: Any, source: Any, j: Any) -> Any:
    """to[i : i + LANES] = source[j : j + LANES]: contiguous, four-byte numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, given = (
            _Row(context, builder, signature.args[n], arguments[n], LANES) for n in (0, 2)
        )
        target[arguments[1]] = given[arguments[3]]
        return context.get_dummy_value()

    return types.void(to, i, source, j), generate


copy_lanes: Any = intrinsic(_copy_lanes)


def _keep_nearest(
    _context: Any, nearest: Any, seen: Any, at: Any, x: Any, planes: Any, place: Any
) -> Any:
    """PIXELS of a row: where a face's edge functions are not negative and its 1 / z is larger than
    what is there, that becomes its 1 / z, and its place.

    Args (of the compiled function):
        nearest: (N,) float64. seen: (N,) int32. at: of the first pixel; x: its centre.
        planes: (a, r) of three edge functions and of 1 / z, one after the other; in this row each
            is a x + r.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        deep, face = (
            _Row(context, builder, signature.args[n], arguments[n], PIXELS) for n in (0, 1)
        )
        _, _, first, x, planes, place = arguments
        before, owner = deep[first], face[first]
        xs = before.all(x) + before.constant([float(n) for n in range(PIXELS)])
        numbers = cgutils.unpack_tuple(builder, planes)
        *edges, inverse_z = (
            before.all(a) * xs + before.all(r)
            for a, r in zip(numbers[::2], numbers[1::2], strict=True)
        )
        hit, zero = inverse_z > before, before.constant([0.0] * PIXELS)
        for edge in edges:
            hit = hit & (edge >= zero)
        deep[first] = hit.where(inverse_z, before)
        face[first] = hit.where(owner.all(place), owner)
        return context.get_dummy_value()

    return types.void(nearest, seen, at, x, planes, place), generate


keep_nearest: Any = intrinsic(_keep_nearest)
