"""The elements of a PLY file: http://paulbourke.net/dataformats/ply, ASCII and binary.

Parsers at hand read lists of one length only, or refuse a file for an element they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8", "float16": "f2",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


_ORDERS = {"ascii": "ascii", "binary_little_endian": "little", "binary_big_endian": "big"}


class Lists(NamedTuple):
    """A list property: of each row its values, one after another.

    Attributes:
        counts: (N,) int64. values: (counts.sum(),), in the type the header states.
    """

    counts: np.ndarray
    values: np.ndarray


Columns = dict[str, "np.ndarray | Lists"]


class _Property(NamedTuple):
    name: str
    kind: np.dtype
    length: np.dtype | None  # of a list's length; None for a single value


@dataclass
class PlyElements:
    """What a file holds.

    Attributes:
        elements: of each element its properties by their names in lower case, (N,) or `Lists`.
        textures: the images it names, in order.
        rest: bytes or lines behind the last element.
    """

    elements: dict[str, Columns] = field(default_factory=dict)
    textures: list[str] = field(default_factory=list)
    rest: int = 0


def read_elements(data: bytes) -> PlyElements:
    """Args: data: the file.

    Raises:
        ValueError: not PLY, or shorter than its header promises.
    """
    at = data.find(b"end_header")
    if not data.removeprefix(b"\xef\xbb\xbf")[:3].lower() == b"ply" or at < 0:
        raise ValueError("no PLY header")
    out = PlyElements()
    order, layout = "", []
    for line in data[:at].decode("latin-1").replace("\r", "\n").split("\n"):
        words = line.split()
        key = words[0].lower() if words else ""
        if key == "format":
            order = _ORDERS[words[1].lower()]
        elif key == "element":
            layout.append((words[1].lower(), int(words[2]), list[_Property]()))
        elif key == "property":
            layout[-1][2].append(_property(words, order == "big"))
        elif key == "comment" and len(words) > 2 and words[1].lower() == "texturefile":
            out.textures.append(line[line.lower().index("texturefile") + 11 :].strip())
    body = data[data.find(b"\n", at) + 1 :] if b"\n" in data[at : at + 12] else data[at + 11 :]
    if order == "ascii":
        out.rest = _text(body, layout, out.elements)
    else:
        out.rest = _binary(body, layout, out.elements)
    return out


def _property(words: list[str], big: bool) -> _Property:
    kinds = words[2:4] if words[1] == "list" else words[1:2]
    types = [np.dtype(_TYPES[kind.lower()]).newbyteorder(">" if big else "<") for kind in kinds]
    return _Property(words[-1].lower(), types[-1], types[0] if len(types) == 2 else None)


_Layout = list[tuple[str, int, list[_Property]]]


def _text(body: bytes, layout: _Layout, out: dict[str, Columns]) -> int:
    """Elements of an ASCII file, a line a row."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < sum(count for _, count, _ in layout):
        raise ValueError("it has fewer lines than its header promises")
    done = 0
    for name, count, properties in layout:
        rows, done = lines[done : done + count], done + count
        if not count or not properties:
            continue
        numbers = np.array(b" ".join(rows).split(), np.float64)
        widths = np.array([len(row.split()) for row in rows], np.int64)
        starts = np.cumsum(widths) - widths
        out[name] = _columns(numbers, starts, widths, properties)
    return len(lines) - done


def _columns(
    numbers: np.ndarray, starts: np.ndarray, widths: np.ndarray, properties: list[_Property]
) -> Columns:
    """Args: numbers: of all rows. starts, widths: of each row, (N,) int64."""
    columns: Columns = {}
    at, ends = starts.copy(), starts + widths
    for one in properties:
        if (at >= ends).any():
            raise ValueError(f"a row ends before its {one.name}")
        if one.length is None:
            columns[one.name] = _typed(numbers[at], one.kind)
            at += 1
            continue
        with np.errstate(invalid="ignore"):
            counts = numbers[at].astype(np.int64)
        if (counts < 0).any() or (at + 1 + counts > ends).any():
            raise ValueError(f"a list of {one.name} is longer than its row")
        place = np.repeat(at + 1 - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        columns[one.name] = Lists(counts, _typed(numbers[place], one.kind))
        at += 1 + counts
    return columns


def _typed(numbers: np.ndarray, kind: np.dtype) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return numbers.astype(kind.newbyteorder("="))


def _binary(body: bytes, layout: _Layout, out: dict[str, Columns]) -> int:
    """Elements of a binary file; the bytes behind them."""
    at = 0
    for name, count, properties in layout:
        if not count or not properties:
            continue
        columns, size = _alike(body, at, count, properties) or _each(body, at, count, properties)
        out[name] = columns
        at += size
    return len(body) - at


def _alike(
    body: bytes, at: int, count: int, properties: list[_Property]
) -> tuple[Columns, int] | None:
    """Columns and size of rows whose lists are all as long as the first row's; None if not."""
    fields: list[tuple] = []
    start = at
    for i, one in enumerate(properties):
        if one.length is None:
            fields.append((f"v{i}", one.kind))
            start += one.kind.itemsize
            continue
        length = int(np.frombuffer(body, one.length, 1, start)[0])
        fields += [(f"n{i}", one.length), (f"v{i}", one.kind, (length,))]
        start += one.length.itemsize + length * one.kind.itemsize
        if length < 0 or start > len(body):
            return None
    row = np.dtype(fields)
    if at + count * row.itemsize > len(body):
        return None
    table = np.frombuffer(body, row, count, at)
    columns: Columns = {}
    for i, one in enumerate(properties):
        values = np.ascontiguousarray(table[f"v{i}"])
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if one.length is None:
            columns[one.name] = values
            continue
        counts = table[f"n{i}"].astype(np.int64)
        if (counts != values.shape[1]).any():
            return None
        columns[one.name] = Lists(counts, values.reshape(-1))
    return columns, count * row.itemsize


def _each(body: bytes, at: int, count: int, properties: list[_Property]) -> tuple[Columns, int]:
    """The same of rows whose lists differ in length, one after another."""
    start, singles = at, {one.name: list[bytes]() for one in properties}
    counts = {one.name: list[int]() for one in properties if one.length is not None}
    for _ in range(count):
        for one in properties:
            length = 1
            if one.length is not None:
                word = body[at : at + one.length.itemsize]
                signed = one.length.kind == "i"
                big = one.length.str[0] == ">"
                length = int.from_bytes(word, "big" if big else "little", signed=signed)
                counts[one.name].append(length)
                at += one.length.itemsize
            size = length * one.kind.itemsize
            if length < 0 or at + size > len(body):
                raise ValueError("it is shorter than its header promises")
            singles[one.name].append(body[at : at + size])
            at += size
    columns: Columns = {}
    for one in properties:
        values = np.frombuffer(b"".join(singles[one.name]), one.kind)
        values = values.astype(one.kind.newbyteorder("="))
        if one.length is None:
            columns[one.name] = values
        else:
            columns[one.name] = Lists(np.array(counts[one.name], np.int64), values)
    return columns, at - start
