"""Eight-bit convolutions: the package says how good they are, and they say what float32 says."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from self6d import cli
from self6d.benchmarks.predict import bench_predict
from self6d.packaging.int8 import session
from self6d.paths import resource
from self6d.runs.load_network import load_network
from self6d.synthesis import SceneMaker, SynthesisConfig

SHIPPED = str(resource("sample/stage1"))
SIZE = (240, 320)
NAMES = ("box", "score", "id", "R", "t")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    to = tmp_path_factory.mktemp("int8") / "package"
    assert cli.run(["export", SHIPPED, "--to", str(to), "--int8", "--instances", "1"]) == 0
    return to


def test_the_package_tells_what_eight_bits_cost(package):
    told = json.loads((package / "model.json").read_text())["int8"]
    assert told["instances"] > 60
    assert told["float32"] > 0.05
    assert told["int8"] == pytest.approx(told["float32"], abs=0.05)


def test_eight_bits_find_the_same_poses(package):
    trained = load_network(SHIPPED)
    scenes = SynthesisConfig(height=SIZE[0], background_pool=8)
    batch = SceneMaker(trained.models, trained.camera, scenes).make(2, 11, 0)
    running = [session(package / name) for name in ("model.onnx", "model.int8.onnx")]
    compared = 0
    for image, K in zip(batch.images, batch.K, strict=True):
        inputs = {"image": image[None].numpy(), "K": K[None].numpy()}
        plain, eight = (dict(zip(NAMES, s.run(None, inputs), strict=True)) for s in running)
        np.testing.assert_array_equal(plain["id"], eight["id"])
        np.testing.assert_allclose(eight["score"], plain["score"], atol=0.2)
        for k in np.flatnonzero(plain["score"] > 0.6):
            np.testing.assert_allclose(eight["box"][k], plain["box"][k], atol=12)
            assert eight["t"][k][2] == pytest.approx(plain["t"][k][2], rel=0.15)
            compared += 1
    assert compared


def test_what_decides_stays_in_float32(package):
    graph = onnx.load(str(package / "model.int8.onnx")).graph
    eight = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    in_eight = [node.input[1] in eight for node in convolutions]
    assert sum(in_eight) > 0.8 * len(convolutions)
    for node, quantised in zip(convolutions, in_eight, strict=True):
        assert not (quantised and "bbox_reg" in node.input[1])


def test_it_is_timed_beside_float32(package):
    rows = bench_predict(package, device="cpu", size=SIZE, repeats=1)
    assert [row["form"] for row in rows] == ["eager", "found", "onnx", "onnx, int8"]
    assert len(bench_predict(package, device="cpu", size=(96, 128), repeats=1)) == 2


@pytest.mark.parametrize("other", ["--no-onnx", "--slim"])
def test_what_eight_bits_do_not_go_with_is_named(other, tmp_path, capsys):
    to = tmp_path / "package"
    assert cli.run(["export", SHIPPED, "--to", str(to), "--int8", other]) != 0
    assert other in capsys.readouterr().err
    assert not to.exists()
