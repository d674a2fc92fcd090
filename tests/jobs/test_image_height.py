"""A camera's images are looked at as large as the network has learned from."""

from __future__ import annotations

from small_runs import SMALL, STAGE_2

from self6d import jobs
from self6d.events import Note
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample


def test_a_network_looks_at_and_adapts_to_images_of_the_height_it_learned_from(tmp_path):
    sample = make_sample(tmp_path / "sample", 7, 2, 1, size=(96, 128))
    told: list[str] = []
    smaller = {**SMALL, "synthesis.height": 64}
    run = jobs.train(
        sample / "models", tmp_path / "stage1", preset="tiny", camera=sample, steps=1,
        overrides=smaller, device="cpu",
        listener=lambda e: told.append(e.text) if isinstance(e, Note) else None,
    )  # fmt: skip
    assert load_network(run.path).network.config.image_height == 64
    assert any("96 rows high and the network learns from 64" in text for text in told)
    adapted = jobs.adapt(
        sample, None, run.path, tmp_path / "adapted", preset="self6d-paper", steps=1,
        overrides=STAGE_2, device="cpu",
    )  # fmt: skip
    assert adapted.config["adapt"]["image_height"] == 64
    # whoever says so has whole ones
    whole = jobs.train(
        sample / "models", tmp_path / "whole", preset="tiny", camera=sample, steps=1,
        overrides=SMALL, device="cpu",
    )  # fmt: skip
    assert load_network(whole.path).network.config.image_height == 0
    larger = make_sample(tmp_path / "larger", 7, 2, 1, size=(144, 192))
    for data, said in ((sample, False), (larger, True)):
        told.clear()
        jobs.evaluate(
            data, None, whole.path, split="eval", device="cpu",
            listener=lambda e: told.append(e.text) if isinstance(e, Note) else None,
        )  # fmt: skip
        assert any("whole: the images are 144 rows high" in text for text in told) == said
