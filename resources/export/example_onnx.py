"""python example_onnx.py IMAGE FX FY CX CY: the same without torch; needs onnxruntime."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

here = Path(__file__).parent
names = {o["id"]: o["name"] for o in json.loads((here / "model.json").read_text())["objects"]}
session = onnxruntime.InferenceSession(here / "model.onnx", providers=["CPUExecutionProvider"])
height, width = session.get_inputs()[0].shape[2:]

image = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
if image.shape[:2] != (height, width):
    sys.exit(f"the network takes images of {width}x{height}: resize the image, and K with it")
fx, fy, cx, cy = map(float, sys.argv[2:6])
K = np.array([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], np.float32)
pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
_, scores, classes, R, t = session.run(None, {"image": pixels, "K": K})
for i in np.argsort(-scores):
    if scores[i] > 0.3:
        print(f"{names[int(classes[i])]}  score {scores[i]:.2f}")
        print("R =", R[i].round(4).tolist())
        print("t =", t[i].round(4).tolist(), "m")
