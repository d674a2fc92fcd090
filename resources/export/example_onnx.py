"""python example_onnx.py [--int8] IMAGE CAMERA: poses in an image, by onnxruntime, without torch.

CAMERA: a JSON file with fx, fy, cx, cy or K (3x3), and D if the lens distorts; or FX FY CX CY
[K1 K2 P1 P2 ..].
"""

import json
import sys
from pathlib import Path

try:
    import cv2
    import numpy as np
    import onnxruntime
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing: pip install numpy opencv-python onnxruntime")

here = Path(__file__).parent
READ = {"fx", "fy", "cx", "cy", "K", "D", "width", "height", "depth_scale"}


def camera_file(path):
    """[fx, fy, cx, cy, *distortion], and the (width, height) that they are for, if it says so."""
    try:
        table = json.loads(Path(path).read_text())
        unread = sorted(set(table) - READ)  # a distortion of another spelling must not be lost
        if unread:
            sys.exit(f"error: {path}: {', '.join(unread)} is not read here: give FX FY CX CY ..")
        if "K" in table:
            (fx, _, cx), (_, fy, cy), _ = table["K"]
        else:
            fx, fy, cx, cy = (table[name] for name in ("fx", "fy", "cx", "cy"))
        numbers = [float(v) for v in (fx, fy, cx, cy, *table.get("D", []))]
        return numbers, (table.get("width"), table.get("height"))
    except (OSError, ValueError, TypeError, KeyError):
        sys.exit(f"error: {path}: no JSON with fx, fy, cx, cy or K. Give it, or FX FY CX CY")


words = [word for word in sys.argv[1:] if word != "--int8"]
model = here / ("model.onnx" if words == sys.argv[1:] else "model.int8.onnx")
try:
    stated, of_size = camera_file(words[1]) if len(words) == 2 else (words[1:], (None, None))
    fx, fy, cx, cy, *distortion = map(float, stated)
    data = np.fromfile(words[0], np.uint8)  # cv2.imread says on its own what it cannot open
    image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # EXIF followed
    names = {o["id"]: o["name"] for o in json.loads((here / "model.json").read_text())["objects"]}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
except (ValueError, IndexError):
    sys.exit("error: give IMAGE CAMERA_FILE, or IMAGE FX FY CX CY [K1 K2 P1 P2 ..]")
except (cv2.error, FileNotFoundError, IsADirectoryError):
    sys.exit(f"error: {words[0]}: is missing or no image. Check the path.")
except Exception as error:
    sys.exit(f"error: {here}: {' '.join(str(error).split())}. Export the run again.")
height, width = session.get_inputs()[0].shape[2:]
if fx < 20 or fy < 20:
    sys.exit(f"error: fx {fx:g} and fy {fy:g} are no focal lengths in pixels")
K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
if distortion:
    image = cv2.undistort(image, K, np.array(distortion))
high, wide = image.shape[:2]
if of_size[0] not in (None, wide) or of_size[1] not in (None, high):
    sys.exit(f"error: {words[1]}: is for {of_size[0]}x{of_size[1]}, the image is {wide}x{high}")
if abs(wide * height / high - width) > 1:
    sys.exit(f"error: {words[0]}: {wide}x{high} is not shaped as {width}x{height}: cut it, and K")
if (high, wide) != (height, width):
    print(f"note: {wide}x{high} resampled to the network's {width}x{height}", file=sys.stderr)
    smaller = cv2.INTER_AREA if high > height else cv2.INTER_LINEAR
    image = cv2.resize(image, (width, height), interpolation=smaller)
    K[0] *= width / wide
    K[1] *= height / high
    K[:2, 2] += (np.array([width / wide, height / high]) - 1) / 2  # centres at whole numbers
pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
_, scores, classes, R, t = session.run(None, {"image": pixels, "K": K[None].astype(np.float32)})
for i in np.argsort(-scores):
    if scores[i] > 0.3:
        print(f"{names[int(classes[i])]}  score {scores[i]:.2f}")
        print("R =", R[i].astype(float).round(4).tolist())
        print("t =", t[i].astype(float).round(4).tolist(), "m")
if not (scores > 0.3).any():
    print("nothing found")
