"""python example.py IMAGE CAMERA: poses in an image; a file, or FX FY CX CY [K1 K2 P1 P2 ...]."""

import sys
from pathlib import Path

try:
    from self6d.errors import Self6DError
    from self6d.packaging import load_package, photograph

    image, K = photograph(*sys.argv[1:])  # upright, and free of the lens's distortion
    if not (poses := load_package(Path(__file__).parent)(image, K)):
        print("nothing found")
    for found in poses:
        sure = "" if found.confidence is None else f"  confidence {found.confidence:.2f}"
        print(f"{found.name}  score {found.score:.2f}{sure}")
        print(f"R = {found.R.round(4).tolist()}\nt = {found.t.round(4).tolist()} m")
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing: pip install self6d-studio (or see example_onnx.py)")
except Self6DError as error:
    sys.exit(f"error: {error.one_line()}")
