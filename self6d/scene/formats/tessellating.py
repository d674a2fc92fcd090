"""A program of its own: STEP on standard input; a line of JSON and a GLB on standard output.

The kernel that reads STEP is C++ that a damaged file can crash and that prints what it thinks. So
it runs apart, with nothing of this program imported.

Arguments: largest distance of a triangle from its curved surface as a share of the object's
diagonal, largest angle between neighbours in radians, and most triangles; where there would be
more, both are let grow, three times.

The line says `triangles`, `distance_mm` (the largest that was allowed) and `surfaces` (how many
faces of the solids have a mesh).
"""

import json
import os
import struct
import sys
from typing import Any

_ROUNDS = 3


def _tree(glb: bytes) -> dict[str, Any]:
    return json.loads(glb[20 : 20 + struct.unpack("<I", glb[12:16])[0]])


def _placed(tree: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """(4x4 matrix, primitive) of each time that one is drawn."""
    import numpy as np

    todo = [(np.eye(4), n) for s in tree.get("scenes", []) for n in s.get("nodes", [])]
    found = []
    while todo:
        above, number = todo.pop()
        node = tree["nodes"][number]
        here = above @ np.reshape(node["matrix"], (4, 4)).T if "matrix" in node else above
        todo += [(here, child) for child in node.get("children", [])]
        if "mesh" in node:
            found += [(here, p) for p in tree["meshes"][node["mesh"]]["primitives"]]
    return found


def _diagonal_mm(tree: dict[str, Any]) -> float:
    import numpy as np

    corners = []
    for matrix, primitive in _placed(tree):
        bounds = tree["accessors"][primitive["attributes"]["POSITION"]]
        box = np.array([bounds["min"], bounds["max"]])
        ends = np.array([[box[n >> i & 1, i] for i in range(3)] for n in range(8)])
        corners.append(ends @ matrix[:3, :3].T + matrix[:3, 3])
    whole = np.concatenate(corners)
    return 1000 * float(np.linalg.norm(whole.max(0) - whole.min(0)))


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # so that what the kernel prints is no part of the mesh
    sys.modules["trimesh"] = None  # type: ignore[assignment]  # cascadio's plug-in for it: 0.6 s
    import cascadio

    share, angle, most = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    data = sys.stdin.buffer.read()
    rough = cascadio.load(data, "step", 1.0, 0.8, merge_primitives=False)
    tree = _tree(rough) if rough else {}
    surfaces = len(_placed(tree))
    head: dict[str, float] = {"triangles": 0, "distance_mm": 0.0, "surfaces": surfaces}
    glb = b""
    if surfaces:
        distance = share * _diagonal_mm(tree)
        for _ in range(1 + _ROUNDS):
            glb = cascadio.load(data, "step", distance, angle)
            drawn = _tree(glb)
            count = sum(drawn["accessors"][p["indices"]]["count"] // 3 for _, p in _placed(drawn))
            head.update(triangles=count, distance_mm=distance)
            if count <= most:
                break
            distance, angle = 3 * distance, min(2 * angle, 1.0)
    with os.fdopen(out, "wb") as stream:
        stream.write(json.dumps(head).encode() + b"\n" + glb)


if __name__ == "__main__":
    main()
