"""python example.py IMAGE FX FY CX CY: poses of the known objects in an image, from RGB alone."""

import sys
from pathlib import Path

import cv2
import numpy as np

from self6d.packaging import load_package

image = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
fx, fy, cx, cy = map(float, sys.argv[2:6])
K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

predict = load_package(Path(__file__).parent)
for found in predict(image, K):
    print(f"{found.name}  score {found.score:.2f}")
    print("R =", found.R.round(4).tolist())
    print("t =", found.t.round(4).tolist(), "m")
