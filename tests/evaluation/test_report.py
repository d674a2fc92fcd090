"""Tables, BOP's files and the HTML report."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from self6d.errors import InputError
from self6d.evaluation import Report, evaluate, read_bop_results, write_bop_results
from self6d.evaluation.figures import PALETTE, curve_figure, overlay
from self6d.evaluation.html import write_html
from self6d.rendering import pack_models


@pytest.fixture
def report(recording, boxes, perfect):
    bad = [replace(p, t=p.t + np.array([0, 0, 0.03 * (p.image_id % 2)])) for p in perfect]
    before = evaluate(recording, boxes, bad, label="before")
    return Report((before, evaluate(recording, boxes, perfect, label="after", bop=True)))


def test_text_has_every_object_and_the_change(report):
    text = report.text()
    assert [text.count(f" {name} ") for name in ("box1", "box2", "mean", "before", "after")] == [
        1, 1, 1, 3, 3,
    ]  # fmt: skip
    assert "50.0 -> 100.0 (+100 % relative)" in text
    assert max(map(len, report.text(width=70).splitlines())) <= 70


def test_csv_is_read_back(report):
    rows = list(csv.DictReader(io.StringIO(report.csv())))
    assert [(r["object"], r["run"]) for r in rows[-2:]] == [("mean", "before"), ("mean", "after")]
    assert float(rows[-2]["recall_10"]) == 0.5
    assert rows[-2]["ar"] == ""
    assert float(rows[-1]["ar"]) == 1


def test_latex_has_a_cell_for_every_column(report):
    width = len(report.columns) + 3
    body = [line for line in report.latex().splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {width - 1}
    assert len(body) == 1 + len(report.rows())


def test_json_is_plain_and_finite(report, recording, boxes):
    table = json.loads(report.json(), parse_constant=lambda name: pytest.fail(name))
    assert [run["label"] for run in table["runs"]] == ["before", "after"]
    assert len(table["runs"][0]["instances"]) == 8
    missed = Report((evaluate(recording, boxes, [], label="none"),))
    assert "miss" in missed.text()
    json.loads(missed.json(), parse_constant=lambda name: pytest.fail(name))


def test_paper_rows_only_beside_its_protocol(report):
    assert report.paper() == []
    one = report.results[0]
    three = replace(one, split="hb3-eval", objects=(*one.objects, one.objects[0]))
    assert Report((three,)).paper() == [("LB", 25.9), ("Self6D", 59.7)]
    assert "paper: Self6D" in Report((three,)).text()
    assert Report((replace(three, objects=one.objects),)).paper() == []


def test_bop_results_are_read_back_to_the_digit(tmp_path, perfect):
    path = write_bop_results(tmp_path / "ours_boxes-test.csv", perfect)
    first = path.read_text().splitlines()[1].split(",")
    assert len(first) == 7
    np.testing.assert_allclose(np.array(first[5].split(), float), 1000 * perfect[0].t)
    for a, b in zip(perfect, read_bop_results(path), strict=True):
        assert (a.scene_id, a.image_id, a.object_id, a.score) == (
            b.scene_id, b.image_id, b.object_id, b.score,
        )  # fmt: skip
        np.testing.assert_array_equal(a.R, b.R)
        np.testing.assert_allclose(a.t, b.t, rtol=1e-15)
    with pytest.raises(InputError, match="exists"):
        write_bop_results(path, perfect)


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3",
        "1,2,3,x,1 0 0 0 1 0 0 0 1,0 0 1,-1",
        "1,2,3,nan,1 0 0 0 1 0 0 0 1,0 0 1,-1",
        "1,2,3,1,9 0 0 0 1 0 0 0 1,0 0 1,-1",
    ],
)
def test_a_bad_results_line_is_named(tmp_path, line):
    path = tmp_path / "r.csv"
    path.write_text(f"scene_id,im_id,obj_id,score,R,t,time\n{line}\n")
    with pytest.raises(InputError, match="line 2"):
        read_bop_results(path)


def test_html_is_one_file_without_network(tmp_path, report, recording, boxes):
    steps = np.arange(50)
    curves = {"after": {"loss/total": (steps, 1 / (1.0 + steps)), "lr": (steps, 0.1 + 0 * steps)}}
    path = write_html(
        tmp_path / "report.html", report, dataset=recording, models=boxes, curves=curves, pictures=2
    )
    page = path.read_text()
    assert not re.findall(r"(?:src|href)='(?!data:)", page)
    assert page.count("data:image/jpeg") == 2 * 3  # two frames: before, after, label
    assert page.count("data:image/png") == 2  # errors, curves
    assert page.count("<tr") == 1 + len(report.rows())
    with pytest.raises(InputError, match="exists"):
        write_html(path, report)
    assert write_html(path, report, replace=True).read_text() != page


def test_overlay_draws_on_the_silhouette(recording, boxes):
    frame, truth = recording.frame(0), recording.truth(0)
    poses = [(t.object_id, t.pose.R_m2c, t.pose.t_m2c) for t in truth]
    picture = overlay(frame, poses, pack_models(boxes), PALETTE[1])
    plain = overlay(frame, [], pack_models(boxes), PALETTE[1])
    changed = (picture != plain).any(-1)
    assert 0 < changed.sum() < 0.2 * changed.size
    assert (picture[changed] == (0, 0x72, 0xB2)).all()


def test_no_curves_no_figure():
    assert curve_figure({}) is None
    assert curve_figure({"loss/total": (np.arange(1), np.ones(1))}) is None
