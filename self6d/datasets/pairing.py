"""Which depth image belongs to which colour image: by name, by time stamp, by order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from self6d.errors import InputError
from self6d.files import note

_ROLE = re.compile(
    r"(?:^|(?<=[^a-z]))(?:aligned_depth|depth|rgb|colou?r|image|img|frame)(?=[^a-z]|$)",
    re.IGNORECASE,
)
_MAX_APART_S = 0.02  # colour and depth of one instant
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_SINCE, _UNTIL = 9.4e8, 4.2e9  # seconds since 1970: the years 2000 to 2100
_APART_S = (0.002, 3.0)  # from one colour image to the next


class Pair(NamedTuple):
    """Paths of one frame below the root; depth is empty without depth."""

    rgb: str
    depth: str


def natural(name: str) -> list:
    """Sort key: numbers inside names count as numbers, and a.png comes before a (1).png."""
    stem, dot, suffix = name.rpartition(".")
    if stem.isdecimal():
        return [(1, int(stem), stem), (0, 0, dot + suffix)]
    parts = re.split(r"(\d+)", stem) if dot else re.split(r"(\d+)", name)
    keys = [(1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts if p]
    return [*keys, (0, 0, dot + suffix)] if dot else keys


def in_order(names: list[str]) -> list[str]:
    """Names sorted as numbers, and as decimal fractions where they are times as programs print
    them, without zeros at their end: 9.25 comes before 9.3.
    """
    if len({len(name) for name in names}) <= 1:
        return sorted(names)  # zero-padded: the order of text is the order of numbers
    times = [re.fullmatch(r"(\d+)\.(\d+)", bare) for bare in map(_without_role, names)]
    found = [match.groups() for match in times if match]
    if len(found) == len(names) and not any(f.endswith("0") for _, f in found if f != "0"):
        counts = all(f == "0" or f[0] != "0" for _, f in found)  # of frames: 1.9, 1.11
        long = any(len(whole) >= 9 or len(f) >= 5 for whole, f in found)
        if long or not counts:
            of = dict(zip(names, ((int(whole), f) for whole, f in found), strict=True))
            return sorted(names, key=lambda name: of[name])
    return sorted(names, key=natural)


def _without_role(name: str) -> str:
    """The name of an image without folder, ending and words such as depth."""
    stem = name[name.rfind("/") + 1 : name.rfind(".")]
    return re.sub(r"^[-_. ]+|[-_. ]+$", "", _ROLE.sub("", stem))


def paired(rgb: list[str], depth: list[str], root: Path) -> dict[int, Pair]:
    """Colour and depth files of the same frame, by image number.

    By name where names agree; else by nearest time stamp within 20 ms; else, if there are as many
    of one as of the other, by order, with a note. Colour images without depth are left out, with
    a note, unless no depth was recorded at all. Numbers that seem shifted are noted too. An image
    that lies there in two formats is taken once, with a note.

    Raises:
        InputError: names agree neither as names nor as times nor in their count.
    """
    rgb, depth = once(rgb, root, "colour"), once(depth, root, "depth")
    stems = [frame_name(r) for r in rgb]
    match = {frame_name(d): d for d in depth}
    found = [match.get(stem, "") for stem in stems]
    if depth and not any(found):
        found = _by_time(rgb, depth, root) or _by_order(rgb, depth, root)
    elif depth:
        if 2 * (len(found) - found.count("")) < min(len(rgb), len(depth)):
            found = _by_time(rgb, depth, root) or found
        _note_shift(stems, list(match), root)
    alone = [r for r, d in zip(rgb, found, strict=True) if not d] if depth else []
    if alone:
        text = f"{len(alone)} of {len(rgb)} colour images have no depth of theirs; left out"
        note(root, f"{text}: {few(alone)}")
    spare = sorted(set(depth) - set(found), key=natural)
    if spare:
        text = f"{len(spare)} of {len(depth)} depth images have no colour image; left out"
        note(root, f"{text}: {few(spare)}")
    kept = [(s, r, d) for s, r, d in zip(stems, rgb, found, strict=True) if d or not depth]
    numeric = all(s.isdecimal() and len(s) < 16 for s, _, _ in kept)
    ids = [int(s) for s, _, _ in kept] if numeric else list(range(len(kept)))
    if len(set(ids)) < len(ids):
        ids = list(range(len(kept)))
    return {i: Pair(r, d) for i, (_, r, d) in zip(ids, kept, strict=True)}


def once(names: list[str], root: Path, kind: str) -> list[str]:
    """Each image once, where the same one lies there in two formats (0001.png and 0001.jpg).

    The one that most images have, so that they are of one kind; PNG, if there are as many of both.

    Args:
        root: of the recording, for the note. kind: "colour" or "depth".
    """
    kept: dict[str, str] = {}
    suffixes = Counter(name.rpartition(".")[2].lower() for name in names)
    for name in names:
        stem, _, suffix = name.rpartition(".")
        other = kept.setdefault(stem, name).rpartition(".")[2]
        if _rank(suffix, suffixes) > _rank(other, suffixes):
            kept[stem] = name
    twice = sorted(set(names) - set(kept.values()), key=natural)
    if twice:
        text = f"{len(twice)} of {len(names)} {kind} images lie there in another format too"
        note(root, f"{text}; left out: {few(twice)}")
    return list(kept.values())


def _rank(suffix: str, counts: Counter[str]) -> tuple[int, bool]:
    return counts[suffix.lower()], suffix.lower() == "png"


def few(names: list[str]) -> str:
    """The first of some names, for a sentence."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def frame_name(name: str) -> str:
    """What colour and depth file of one frame have in common in their names."""
    stem = name[name.rfind("/") + 1 : name.rfind(".")]
    if stem.isdecimal():
        return stem
    return re.sub(r"[-_. ]+", "-", _ROLE.sub("", stem)).strip("-")


def _note_shift(rgb: list[str], depth: list[str], root: Path) -> None:
    """Say so if one list's numbers are the other's, all moved by the same."""
    if len(rgb) != len(depth) or not all(s.isdecimal() for s in (*rgb, *depth)):
        return
    a, b = sorted(map(int, rgb)), sorted(map(int, depth))
    shift = a[0] - b[0]
    if shift and all(x - y == shift for x, y in zip(a, b, strict=True)):
        note(
            root,
            f"colour is numbered {a[0]} to {a[-1]} and depth {b[0]} to {b[-1]}: the numbering may "
            f"be shifted by {abs(shift)}, so that a pair is of two instants; files of equal number "
            "were paired. Number them alike if they belong together in order",
        )


def _by_time(rgb: list[str], depth: list[str], root: Path) -> list[str] | None:
    """Depth of each colour image by the time stamps in their names; None where there are none."""
    at, other = _stamps(rgb), _stamps(depth)
    times = None if at is None or other is None else in_seconds(at, other)
    if times is None:
        return None
    at, other, unit = times
    nearest = nearest_in_time(at, other, _MAX_APART_S)
    if max(nearest) < 0:
        apart = np.abs(other[:, None] - at[:1000]).min(0)
        raise InputError(
            f"file names read as time stamps in {_WORDS[unit]}: no depth image lies within 20 ms "
            f"of a colour image, the nearest {1000 * np.median(apart):.4g} ms away",
            path=root,
            remedy="Give the two images of a frame the same name, or stamp both by one clock.",
        )
    if unit != "s":
        note(root, f"file names read as time stamps in {_WORDS[unit]}; paired by the nearest")
    return [depth[j] if j >= 0 else "" for j in nearest]


def _stamps(names: Sequence[str]) -> np.ndarray | None:
    """Times in file names, (N,) float64, counted from the first (so that nothing is rounded)."""
    raw = [_without_role(name) for name in names]
    if all(re.fullmatch(r"\d{9,10}[-_]\d{1,9}", stem) for stem in raw):  # seconds and a part
        parts = [re.split(r"[-_]", stem) for stem in raw]
        widths = {len(part) for _, part in parts}
        digits = widths.pop() if len(widths) == 1 else 9  # not padded: nanoseconds, as ROS counts
        return np.array([int(s) + int(part) / 10**digits for s, part in parts])
    try:
        return np.array([float(stem) for stem in raw])
    except ValueError:
        return None


def in_seconds(rgb: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Times of colour (N,) and depth (M,) images in seconds, and the unit they are written in.

    The unit is that in which they lie in this century; where none does (a clock that started with
    the camera), that in which colour images follow one another as those of a camera do. None where
    they are no times at all: small whole numbers count images.
    """
    of_rgb, of_depth = _calendar_unit(rgb), _calendar_unit(depth)
    if of_rgb is None or of_depth is None:
        steps = np.diff(np.sort(rgb))
        step = float(np.median(steps)) if steps.size else 0.0
        whole = all(bool((times == np.round(times)).all()) for times in (rgb, depth))
        fits = [u for u, s in _UNITS.items() if _APART_S[0] <= step * s <= _APART_S[1]]
        if not fits or (whole and step < 1000):
            return None
        of_rgb = of_depth = fits[0]
    if of_rgb == of_depth:
        start = min(rgb.min(), depth.min())  # differences are small numbers, which are not rounded
        return (rgb - start) * _UNITS[of_rgb], (depth - start) * _UNITS[of_rgb], of_rgb
    return rgb * _UNITS[of_rgb], depth * _UNITS[of_depth], of_rgb


def _calendar_unit(times: np.ndarray) -> str | None:
    """The unit in which times lie in this century."""
    middle = float(np.median(times))
    return next((u for u, s in _UNITS.items() if _SINCE < middle * s < _UNTIL), None)


def nearest_in_time(at: np.ndarray, other: np.ndarray, limit: float) -> list[int]:
    """For each time in `at` the index of the nearest in `other`, each used once, -1 if none.

    The greedy rule of TUM's associate.py: the closest pairs first.
    """
    order = other.argsort()
    place = np.searchsorted(other[order], at)
    candidates = []
    for i, p in enumerate(place):
        for q in (p - 1, p):
            if 0 <= q < len(order) and abs(other[order[q]] - at[i]) <= limit:
                candidates.append((abs(other[order[q]] - at[i]), i, int(order[q])))
    result, used = [-1] * len(at), set()
    for _, i, j in sorted(candidates):
        if result[i] < 0 and j not in used:
            result[i] = j
            used.add(j)
    return result


def _by_order(rgb: list[str], depth: list[str], root: Path) -> list[str]:
    if len(rgb) != len(depth):
        raise InputError(
            f"{len(rgb)} colour and {len(depth)} depth images share no names",
            path=root,
            remedy="Give the two images of a frame the same number.",
        )
    note(root, "colour and depth images share no names; they were paired by order")
    return depth
