"""The examples of a package run, need what they say, and tell of faults in one line."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_package import SIZE, K

from self6d.packaging import load_package


@pytest.mark.parametrize("name", ["example.py", "example_onnx.py"])
def test_examples_run(package, image, tmp_path, name):
    picture = tmp_path / "image.png"
    cv2.imwrite(str(picture), image[..., ::-1])
    numbers = [str(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(package / name), str(picture), *numbers],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("score") == len(load_package(package)(image, K)) > 2
    assert "flask" in done.stdout
    assert len((package / "example.py").read_text().splitlines()) <= 20


@pytest.mark.parametrize("name", ["example.py", "example_onnx.py"])
def test_examples_say_where_nothing_is_found(package, image, tmp_path, name, monkeypatch, capsys):
    picture = tmp_path / "image.png"
    cv2.imwrite(str(picture), image[..., ::-1])
    numbers = [str(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
    monkeypatch.setattr(sys, "argv", [name, str(picture), *numbers])
    text = (package / name).read_text().replace("(image, K)", "(image, K, score_threshold=1.0)")
    (tmp_path / name).write_text(text.replace("> 0.3", "> 1.1").replace("__file__", "PACKAGE"))
    runpy.run_path(str(tmp_path / name), {"PACKAGE": str(package / name)})
    assert capsys.readouterr().out == "nothing found\n"


def test_the_onnx_example_takes_images_of_another_size(package, image, tmp_path):
    """It refused what the camera makes, and left resampling, K and its half pixel to the user."""
    large, picture = cv2.resize(image, None, fx=2, fy=2), tmp_path / "large.png"
    cv2.imwrite(str(picture), large[..., ::-1])
    file_K = [str(v) for v in (220.0, 224.0, 127.5, 95.5)]  # K of twice the size, in files' pixels
    words = [sys.executable, str(package / "example_onnx.py"), str(picture)]
    done = subprocess.run([*words, *file_K], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "note: 256x192 resampled to the network's 128x96" in done.stderr
    small = cv2.resize(large, SIZE[::-1], interpolation=cv2.INTER_AREA)
    expected = load_package(package)(small, K, looks=0)
    given = [line for line in done.stdout.splitlines() if line.startswith("t = ")]
    found = sorted(json.loads(line[4:-2]) for line in given)
    assert len(found) == len(expected) > 2
    np.testing.assert_allclose(found, sorted(f.t.tolist() for f in expected), atol=2e-3)
    cv2.imwrite(str(picture), large[:-30, :, ::-1])
    done = subprocess.run([*words, *file_K], capture_output=True, text=True, timeout=120)
    assert done.stderr == f"error: {picture}: 256x162 is not shaped as 128x96: cut it, and K\n"
    assert done.returncode == 1


def test_the_onnx_example_takes_a_camera_file(package, image, tmp_path, monkeypatch, capfd):
    """example.py took one; an image that is missing was told by OpenCV as well."""
    picture, file = tmp_path / "image.png", tmp_path / "camera.json"
    cv2.imwrite(str(picture), image[..., ::-1])
    numbers = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}

    def poses(*camera: object, image: Path = picture) -> str:
        monkeypatch.setattr(sys, "argv", ["example", str(image), *map(str, camera)])
        with nullcontext() if image is picture else suppress(SystemExit):
            runpy.run_path(str(package / "example_onnx.py"))
        said = capfd.readouterr()
        assert "WARN" not in said.err
        return said.out

    expected = poses(*numbers.values())
    assert expected.count("score") > 2
    for table in (numbers | {"width": SIZE[1], "height": SIZE[0]}, {"K": K.tolist(), "D": []}):
        file.write_text(json.dumps(table))
        assert poses(file) == expected
    D = [-0.2, 0.05, 0.001, 0.0]
    file.write_text(json.dumps({"K": K.tolist(), "D": D}))
    assert poses(file) == poses(*numbers.values(), *D) != expected
    assert poses(file, image=tmp_path / "gone.png") == ""
    for more, why in (({"k1": 0.1}, "k1 is not read here"), ({"width": 640}, "is for 640xNone")):
        file.write_text(json.dumps(numbers | more))
        with pytest.raises(SystemExit, match=why):
            poses(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("example.py", "self6d is missing: pip install self6d-studio"),
        ("example_onnx.py", "cv2 is missing: pip install numpy opencv-python onnxruntime"),
        ("ros2_node.py", "numpy is missing: pip install self6d-studio"),
    ],
)
def test_what_a_bare_python_lacks_is_said(package, name, text):
    """A Python with nothing installed told of it by a traceback."""
    words = [sys.executable, "-I", "-S", str(package / name), "image.png", "100", "100", "9", "9"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {text}")
    assert done.stderr.count("\n") == 1


WRONG = {
    "no arguments": [],
    "no camera": ["IMAGE"],
    "no image": ["gone.png", "K"],
    "a folder": [".", "K"],
    "no file of a camera": ["IMAGE", "gone.json"],
    "no camera in it": ["IMAGE", "EMPTY"],
    "no numbers": ["IMAGE", "fx", "fy", "cx", "cy"],
    "three numbers": ["IMAGE", "100", "100", "50"],
    "normalised": ["IMAGE", "0.9", "1.2", "0.5", "0.5"],
}


@pytest.mark.parametrize("name", ["example.py", "example_onnx.py"])
def test_examples_give_errors_of_one_line(package, image, tmp_path, name, capsys, monkeypatch):
    picture = tmp_path / "image.png"
    cv2.imwrite(str(picture), image[..., ::-1])
    numbers = [str(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    for case, words in WRONG.items():
        given = {"IMAGE": [str(picture)], "K": numbers, "EMPTY": [str(empty)]}
        arguments = [v for word in words for v in given.get(word, [word])]
        monkeypatch.setattr(sys, "argv", [str(package / name), *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(package / name), run_name="__main__")
        said = capsys.readouterr()
        text = said.err or f"{stop.value.code}\n"
        assert text.startswith("error: "), (case, text)
        assert text.count("\n") == 1, (case, text)
        assert stop.value.code not in (0, None)
        assert not said.out
