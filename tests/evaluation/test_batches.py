"""A network that looks at several images at once finds what it finds one by one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from self6d import jobs
from self6d.datasets import open_dataset
from self6d.evaluation import NetworkPredictor, evaluate
from self6d.paths import resource
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return open_dataset(make_sample(tmp_path_factory.mktemp("b") / "s", 7, 5, 2, size=(120, 160)))


def test_batches_say_what_single_images_say(sample):
    trained = load_network(resource("sample/stage1"))
    frames = [sample.frame(i) for i in range(5)]
    single = NetworkPredictor(trained.network, score_threshold=0.0)
    batched = NetworkPredictor(trained.network, score_threshold=0.0, batch=4)
    assert (single.together, batched.together) == (1, 4)
    alone = [single(frame) for frame in frames]
    together = batched.on_frames(frames)
    assert any(alone)
    for one, other in zip(alone, together, strict=True):
        assert [p.object_id for p in one] == [p.object_id for p in other]
        for a, b in zip(one, other, strict=True):
            assert (a.scene_id, a.image_id) == (b.scene_id, b.image_id)
            assert b.score == pytest.approx(a.score, abs=1e-5)
            np.testing.assert_allclose(b.R, a.R, atol=1e-4)
            np.testing.assert_allclose(b.t, a.t, atol=1e-4)
            np.testing.assert_allclose(b.box, a.box, atol=1e-3)
            assert (a.mask != b.mask).mean() < 1e-3


def test_batches_score_as_single_images_do(sample):
    trained = load_network(resource("sample/stage1"))
    one, four = (
        evaluate(
            sample,
            trained.models,
            NetworkPredictor(trained.network, score_threshold=0.0, batch=batch),
            bop=True,
        ).to_dict()
        for batch in (1, 4)
    )
    assert one["frames"] == four["frames"] == 3
    for name, value in one["mean"].items():
        if isinstance(value, float):
            assert four["mean"][name] == pytest.approx(value, abs=1e-3), name


def test_depth_is_decoded_only_where_something_looks_at_it(sample):
    trained = load_network(resource("sample/stage1"))
    asked, read = [], sample.frame

    def frame(index, *, depth=True):
        asked.append(depth)
        return read(index, depth=depth)

    sample.frame = frame
    try:
        predictor = NetworkPredictor(trained.network, score_threshold=0.0)
        results = [evaluate(sample, trained.models, predictor, bop=bop) for bop in (False, True)]
        evaluate(sample, trained.models, lambda _: [])
    finally:
        del sample.frame
    assert asked == [False] * 3 + [True] * 6
    for one, other in zip(*(r.instances for r in results), strict=True):
        assert one == other


def test_runs_of_one_name_have_rows_and_results_files_of_their_own(sample, tmp_path):
    runs = [shutil.copytree(resource("sample/stage1"), tmp_path / part / "run") for part in "ab"]
    some = {"split": "eval", "min_visible": 0.0, "device": "cpu"}
    report = jobs.evaluate(sample.root, None, runs, bop_path=tmp_path / "bop", **some)
    assert [result.label for result in report.results] == ["a/run", "b/run"]
    files = sorted(file.name.partition("_")[0] for file in (tmp_path / "bop").iterdir())
    assert files == ["a-run", "b-run"]
