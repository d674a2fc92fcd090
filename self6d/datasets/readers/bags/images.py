"""Pixels of ROS image messages.

Encodings: sensor_msgs/image_encodings.h; compressed depth: compressed_depth_image_transport.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.datasets.images import decode_bytes, rgb_of_bytes
from self6d.errors import InputError
from self6d.files import note

_PLAIN = {  # encoding -> bytes of a channel, channels, conversion to RGB
    "rgb8": (1, 3, None), "bgr8": (1, 3, cv2.COLOR_BGR2RGB), "8uc3": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB), "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "8uc4": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB), "8uc1": (1, 1, cv2.COLOR_GRAY2RGB),
    "y8": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None), "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerBG2RGB), "bayer_bggr8": (1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGR2RGB), "bayer_grbg8": (1, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY), "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2), "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
}  # fmt: skip
_GREY = ("mono8", "8uc1", "y8")
_DEPTH = {"16uc1": "u2", "mono16": "u2", "z16": "u2", "32fc1": "f4", "64fc1": "f8"}


def encoding(message: Any) -> str:
    """An image's encoding in small letters; of a compressed one what its format says."""
    stated = getattr(message, "encoding", None)
    return str(message.format if stated is None else stated).strip().lower()


def is_depth(message: Any) -> bool:
    """Whether an image holds distances, by its encoding."""
    kind = encoding(message)
    return kind in _DEPTH or "compresseddepth" in kind or kind.startswith(("16uc1", "32fc1"))


def is_grey(message: Any) -> bool:
    """Whether a colour image is grey, by its encoding."""
    return encoding(message).startswith(_GREY)


def is_colour(message: Any) -> bool:
    """Whether an image shows the scene, by its encoding."""
    if hasattr(message, "encoding"):
        return encoding(message) in _PLAIN
    return not is_depth(message)


def size(message: Any, path: Path) -> tuple[int, int]:
    """(height, width) of an image."""
    if hasattr(message, "encoding"):
        return int(message.height), int(message.width)
    shape = (depth_image if is_depth(message) else colour_image)(message, path).shape
    return shape[0], shape[1]


def colour_image(message: Any, path: Path) -> np.ndarray:
    """(H, W, 3) uint8, RGB.

    Raises:
        InputError: an unknown encoding, or too few bytes.
    """
    if not hasattr(message, "encoding"):
        return rgb_of_bytes(np.asarray(message.data, np.uint8).tobytes(), path)
    kind = encoding(message)
    if kind not in _PLAIN:
        raise InputError(
            f"colour images are encoded as '{message.encoding}', which is not read",
            path=path,
            remedy="Record them as rgb8, bgr8 or compressed.",
        )
    width, channels, conversion = _PLAIN[kind]
    image = _pixels(message, f"u{width}", channels, path)
    if kind in ("8uc3", "8uc4"):
        note(path, f"colours of encoding {message.encoding} are taken as blue, green, red")
    if width == 2:
        note(path, "16-bit colour image reduced to 8 bits")
        image = (image >> 8).astype(np.uint8)
    if kind in _GREY:
        note(path, "grey image used as colour, so colour terms will be of little use")
    return image.copy() if conversion is None else cv2.cvtColor(image, conversion)


def depth_image(message: Any, path: Path) -> np.ndarray:
    """Depth as it is stored, (H, W): uint16 in units, or float32 in metres.

    Raises:
        InputError: an unknown encoding, or too few bytes.
    """
    kind = encoding(message)
    if not hasattr(message, "encoding"):
        data = np.asarray(message.data, np.uint8).tobytes()
        return _compressed_depth(data, kind, path)
    if kind not in _DEPTH:
        raise InputError(
            f"depth images are encoded as '{message.encoding}', which is not read",
            path=path,
            remedy="Record depth as 16UC1 (millimetres) or 32FC1 (metres).",
        )
    image = _pixels(message, _DEPTH[kind], 1, path)
    return image.copy() if image.dtype == np.uint16 else image.astype(np.float32)


def _compressed_depth(data: bytes, kind: str, path: Path) -> np.ndarray:
    if "compresseddepth" not in kind:
        return decode_bytes(data, path, "depth image")
    _, a, b = struct.unpack_from("<iff", data.ljust(12, b"\0"))
    if "rvl" in kind:
        from self6d.datasets.readers.bags.rvl import decode_rvl  # compiled: loaded where it is met

        image = decode_rvl(data[12:], path)
    else:
        image = decode_bytes(data[12:], path, "depth image")
    if not kind.startswith("32fc1"):
        return image
    with np.errstate(divide="ignore"):  # inverse depth, so that near is finer
        depth = np.float32(a) / (image.astype(np.float32) - np.float32(b))
    return np.where(image > 0, depth, np.float32(0))


def _pixels(message: Any, dtype: str, channels: int, path: Path) -> np.ndarray:
    """(H, W) or (H, W, channels) of a raw image, which may pad its rows."""
    h, w = int(message.height), int(message.width)
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    used = w * channels * kind.itemsize
    step = int(message.step) or used
    data = np.asarray(message.data, np.uint8)
    if not (h and w) or step < used or data.size < step * (h - 1) + used:
        raise InputError(
            f"image of {w}x{h} '{message.encoding}' holds {data.size} bytes, too few",
            path=path,
            remedy="Record it again.",
        )
    rows = np.lib.stride_tricks.as_strided(data, (h, used), (step, 1), writeable=False)
    image = np.ascontiguousarray(rows).view(kind).astype(kind.newbyteorder("="), copy=False)
    return image.reshape((h, w) if channels == 1 else (h, w, channels))
