"""Files that a mesh names: materials, textures, buffers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from PIL import Image
from trimesh.resolvers import FilePathResolver

from self6d.errors import InputError
from self6d.files import read_bytes


class FilesBeside(FilePathResolver):
    """Textures and materials beside the mesh; a name that leads out of its folder is refused.

    Names are as people's programs write them: with backslashes, percent escapes, another case, or
    the path of the machine they came from, of which the last part is looked for beside the mesh.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.texts: dict[str, bytes] = {}

    def get(self, name: str) -> bytes:
        if name in self.texts:
            return self.texts[name]
        root = Path(self.parent).resolve()
        plain = name.strip().replace("\\", "/")
        inside = False
        for form in (name, plain, unquote(plain), plain.rpartition("/")[2]):
            target = (root / form).resolve()
            if not target.is_relative_to(root) or "\0" in form:
                continue
            inside = True
            if target.is_file() or (target := _any_case(root, form)).is_file():
                return read_bytes(target, "texture or material")
        if not inside:
            raise ValueError(f"{name} lies outside the mesh's folder")
        return read_bytes(root / plain.rpartition("/")[2], "texture or material")


def _any_case(root: Path, name: str) -> Path:
    """The file of that name whatever its case, a step at a time."""
    at = root
    for part in Path(name).parts:
        if part == ".." or not at.is_dir():
            return at / part
        same = [p for p in sorted(at.iterdir()) if p.name.lower() == part.lower()]
        at = same[0] if same else at / part
    return at


def fault_of_image(name: str, get: Callable[[str], bytes]) -> str:
    """ "is missing" or "cannot be read" of an image that a mesh names; "" where it is sound."""
    return named_image(name, get)[1]


def named_image(name: str, get: Callable[[str], bytes]) -> tuple[Image.Image | None, str]:
    """The image that a mesh names, or None and its fault as `fault_of_image` tells it."""
    try:
        image = image_in(get(name))
    except (InputError, OSError, ValueError):
        return None, "is missing"
    return image, "" if image is not None else "cannot be read"


def image_in(data: bytes) -> Image.Image | None:
    """The whole image of a file's content; None where it is damaged or of an unknown kind."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return image
