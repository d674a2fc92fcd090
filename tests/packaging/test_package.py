"""Export: the folder stands alone, its example runs, ONNX and torch.export say the same."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from small_package import SIZE, K
from variations import Way, bend, colour_file

from self6d.datasets.images import read_rgb
from self6d.errors import CheckpointError, InputError, MissingDependencyError
from self6d.geometry import Camera
from self6d.packaging import export_run, load_package, photograph, program
from self6d.packaging.program import OUTPUTS, REFINER_INPUTS
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.refinement.rgb.weights import load_refiner
from self6d.runs.load_network import load_network


def test_the_folder_says_what_it_is(package):
    names = {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file()}
    assert names == {
        "example.py", "example_onnx.py", "model.json", "model.onnx", "model.pt2",
        "model.safetensors", "models/models_info.json", "models/obj_000001.ply",
        "models/obj_000002.ply", "refiner.onnx", "refiner.safetensors", "ros2_node.py",
    }  # fmt: skip
    info = json.loads((package / "model.json").read_text())
    assert [o["name"] for o in info["objects"]] == ["flask", "bracket"]
    assert info["run"] == {"name": "run", "kind": "synthetic", "seed": 5, "step": 3}
    np.testing.assert_allclose(info["camera"]["K"], K)
    assert info["exported_detections"] == 6  # two objects, three times each
    assert info["exported_size"] == {"height": 96, "width": 128}
    assert str(package.parent) not in (package / "model.json").read_text()


def test_package_predicts_what_the_network_does(run, package, image):
    network = load_network(run).network
    camera = Camera.from_opencv(K, SIZE[1], SIZE[0])
    expected = network.predict(
        torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255,
        torch.tensor(camera.K, dtype=torch.float32)[None],
        score_threshold=0.0,
    )
    found = load_package(package)(image, K, score_threshold=0.0, looks=0)
    assert {f.object_id for f in found} == {1, 2}
    assert len(found) == len(expected) > 2  # several of each: the detector is sure of everything
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    for i, f in enumerate(found):
        assert f.object_id == network.object_ids[expected.object_index[i]]
        # up to the rounding of folded batch norms
        np.testing.assert_allclose(f.R, expected.R[i].double().numpy(), atol=1e-4)
        np.testing.assert_allclose(f.t, expected.t[i].double().numpy(), rtol=1e-4, atol=1e-5)


def test_in_bfloat16_the_poses_are_near(package, image):
    exact = load_package(package)(image, K, score_threshold=0.0, looks=0)
    predictor = load_package(package, bfloat16=True)
    rounded = predictor(image, K, score_threshold=0.0, looks=0)
    kinds = {weight.dtype for weight in predictor.network.state_dict().values()}
    assert {torch.bfloat16, torch.float32} <= kinds
    best, near = ({f.object_id: f for f in reversed(found)} for found in (exact, rounded))
    assert best.keys() == near.keys()
    for i, f in best.items():
        assert near[i].score == pytest.approx(f.score, abs=0.02)
        assert not np.array_equal(near[i].R, f.R)
        np.testing.assert_allclose(near[i].R, f.R, atol=0.05)
        np.testing.assert_allclose(near[i].t, f.t, atol=0.05 * f.t[2])


def test_the_refiner_moves_poses_and_says_how_sure_it_is(run, refiner, package, image):
    predictor = load_package(package)
    plain, moved = predictor(image, K, looks=0), predictor(image, K)
    assert all(f.confidence is None for f in plain)
    assert all(0 < f.confidence < 1 for f in moved)
    trained = load_network(run)
    looker = RgbRefiner.load(refiner, trained.models)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    camera = torch.tensor(Camera.from_opencv(K, SIZE[1], SIZE[0]).K, dtype=torch.float32)[None]
    found = trained.network.predict(pixels, camera, score_threshold=0.3)
    expected = looker.refine(
        pixels, camera, found.image_index, found.object_index, found.R, found.t
    )
    of_all = [t.double().numpy() for t in expected.t]
    assert moved
    for f in moved:  # those that moved onto another are left out
        assert min(np.abs(f.t - t).max() for t in of_all) < 1e-5
    assert max(np.abs(f.t - g.t).max() for f, g in zip(moved, plain, strict=False)) > 1e-4
    only = export_run(run, package.parent / "plain", onnx=False)
    assert "onnx" in (package / "example.py").read_text()
    alone = (package.parent / "plain/example.py").read_text()
    assert "onnx" not in alone  # there is no other example
    assert "refiner.safetensors" not in {path.name for path in only}
    with pytest.raises(InputError, match="no refiner"):
        load_package(package.parent / "plain")(image, K, looks=2)


def test_the_refiner_as_onnx_says_the_same_of_any_number(refiner, package):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(package / "refiner.onnx", providers=["CPUExecutionProvider"])
    network, _ = load_refiner(refiner)
    for count in (1, 3):
        pictures = torch.rand(2, count, 3, 64, 64)
        maps = torch.rand(2, count, 64, 64)
        inputs = (*pictures, *maps, torch.zeros(count, dtype=torch.int64))
        with torch.no_grad():
            change = network(*inputs)
        given = dict(zip(REFINER_INPUTS, (x.numpy() for x in inputs), strict=True))
        rotation, shift, distance, confidence = session.run(None, given)
        for mine, theirs in (
            (change.rotation, rotation), (change.shift, shift), (change.distance, distance),
            (change.confidence.sigmoid(), confidence),
        ):  # fmt: skip
            np.testing.assert_allclose(theirs, mine.numpy(), atol=1e-4)


def test_onnx_and_program_equal_torch(package, image):
    runtime = pytest.importorskip("onnxruntime")
    pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    K_batch = K[None].astype(np.float32)
    session = runtime.InferenceSession(package / "model.onnx", providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == list(OUTPUTS)
    by_onnx = session.run(None, {"image": pixels, "K": K_batch})
    loaded = torch.export.load(package / "model.pt2").module()
    by_program = [o.numpy() for o in loaded(torch.from_numpy(pixels), torch.from_numpy(K_batch))]
    for outputs in (by_onnx, by_program):
        boxes, scores, classes, R, t = outputs
        found = load_package(package)(image, K, score_threshold=0.0, looks=0)
        assert classes[:2].tolist() == [1, 2]  # the best of each object, then the further ones
        assert int((scores > 0).sum()) == len(found) > 2
        for f in found:
            i = np.where((classes == f.object_id) & (scores > 0), abs(t - f.t).sum(1), 9).argmin()
            np.testing.assert_allclose(scores[i], f.score, atol=1e-3)
            np.testing.assert_allclose(boxes[i], f.box, atol=1e-2)
            np.testing.assert_allclose(R[i], f.R, atol=1e-3)
            np.testing.assert_allclose(t[i], f.t, atol=1e-3)


def test_images_are_read_as_recordings_are(package, tmp_path, capsys, monkeypatch):
    """A turned and bent photograph gives the poses of the straight one, from each door."""
    smooth = cv2.GaussianBlur(np.random.default_rng(3).uniform(0, 255, (*SIZE, 3)), (0, 0), 3.0)
    smooth = smooth.astype(np.uint8)
    D = [-0.2, 0.05, 0.001, 0.0]
    bent, _ = bend(smooth, np.zeros(SIZE), K, D, "")
    picture = tmp_path / "bent.jpg"
    picture.write_bytes(colour_file(bent, Way([], [], {}, suffix=".jpg", exif=6)))
    numbers = [str(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2], *D)]
    straight, same_K = photograph(picture, *numbers)
    np.testing.assert_allclose(same_K, K)
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(straight[inner].astype(float) - smooth[inner]).mean() < 4
    predictor = load_package(package)
    expected = predictor(straight, K, score_threshold=0.0)
    given = predictor(read_rgb(picture), K, score_threshold=0.0, distortion=D)
    np.testing.assert_allclose(given[0].t, expected[0].t, atol=1e-6)
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({"K": K.tolist(), "D": D}))
    np.testing.assert_array_equal(photograph(picture, str(camera))[0], straight)


def test_nothing_is_overwritten_and_nothing_half_written_stays(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        export_run(run, tmp_path / "full", onnx=False)
    monkeypatch.setattr(program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="onnx"):
        export_run(run, tmp_path / "new", onnx=True)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("size", [(0, 3), (96, -1), 96, (96, 128, 3), (9.5, 128), "96x128"])
@pytest.mark.parametrize("onnx", [True, False])
def test_a_size_that_no_image_has(run, tmp_path, size, onnx):
    """It was ignored without ONNX; with it, the exporter failed in words of its own."""
    with pytest.raises(InputError, match="is not the size of an image"):
        export_run(run, tmp_path / "out", onnx=onnx, size=size)
    with pytest.raises(InputError, match="neither is written"):
        export_run(run, tmp_path / "out", onnx=False, size=(96, 128))
    assert not (tmp_path / "out").exists()


def test_a_damaged_package_is_named(run, tmp_path):
    export_run(run, tmp_path / "out", onnx=False)
    weights = tmp_path / "out" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_package(tmp_path / "out")
    weights.unlink()
    with pytest.raises(InputError, match="weights"):
        load_package(tmp_path / "out")
    with pytest.raises(InputError):
        load_package(tmp_path)


def test_a_wrong_image_is_refused(run, tmp_path, image):
    export_run(run, tmp_path / "out", onnx=False)
    predict = load_package(tmp_path / "out")
    with pytest.raises(InputError, match="float32"):
        predict(image.astype(np.float32), K)
    with pytest.raises(InputError, match="camera matrix is not"):
        predict(image, np.zeros((3, 3)))
    with pytest.raises(InputError, match="score_threshold: 7 is out of range"):
        predict(image, K, score_threshold=7)
