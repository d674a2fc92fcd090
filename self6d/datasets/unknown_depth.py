"""Which of a depth file's values means "unknown" although it looks like a distance.

Zero always does. Sensors and converters also write the highest number there is: 65535, or the top
of fewer bits, moved up (4095 << n, 2047, 8191, ...). 65535 is never a distance; another top of bits
only where the pixels say so: many hold it and none comes near.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FULL = 65535
_LEAST_BITS = 10
_HEAP = 0.0005  # share of the pixels that hold the value
_ABOVE_NEIGHBOURS = 10  # times as many as hold a usual value just below


def unknown_value(
    raw: np.ndarray, others: Callable[[], frozenset[int]] = frozenset
) -> float | None:
    """The value of a raw depth image, (H, W), that means "unknown" beside 0; None if none does.

    Args:
        raw: uint16 or float32.
        others: gives `shown_unknown` of the recording's other images, where this one's few such
            pixels are no evidence.
    """
    top, number = _top(raw)
    if number is not None and (number == _FULL or _is_heap(raw, top) or number in others()):
        return top
    return None


def shown_unknown(raw: np.ndarray) -> int | None:
    """The top of bits (as an integer) whose pixels in this image show that it means "unknown"."""
    top, number = _top(raw)
    return number if number is not None and _is_heap(raw, top) else None


def _top(raw: np.ndarray) -> tuple[float, int | None]:
    """Highest value, and the top of bits it is (as an integer); None if it is not."""
    if raw.dtype.kind == "f":
        values = raw[np.isfinite(raw)]
        top = float(values.max(initial=0))
        # decimals: what was an integer of millimetres, or still is one
        number = round(top * 1000) if top < 100 else round(top)
        if abs(number - (top * 1000 if top < 100 else top)) > 1e-3 * max(1.0, number / 1000):
            return top, None
    else:
        top = number = int(raw.max(initial=0))
    return top, number if _is_top_of_bits(number) else None


def _is_top_of_bits(number: int) -> bool:
    """Whether a number is ones followed by zeros: (2^k - 1) << n, k at least ten."""
    if number <= 0 or number > _FULL:
        return False
    ones = number >> ((number & -number).bit_length() - 1)
    return ones & (ones + 1) == 0 and ones >= (1 << _LEAST_BITS) - 1


def _is_heap(raw: np.ndarray, top: float) -> bool:
    near = raw[(raw > 0.8 * top) & np.isfinite(raw)]
    values, counts = np.unique(near, return_counts=True)
    heap = int(counts[values == top].sum())
    below = counts[values < top]
    usual = float(below.mean()) if below.size else 0.0
    return heap >= max(16, _HEAP * raw.size) and heap > _ABOVE_NEIGHBOURS * usual
