"""Curves: nothing is lost by the pyramid, and only a screen's width is drawn."""

import numpy as np
import pytest

from studio.curves.series import FACTOR, Series, Smoothed


def filled(n: int, pieces: int = 1) -> tuple[Series, np.ndarray]:
    y = np.random.default_rng(0).normal(size=n)
    series = Series()
    for part in np.array_split(np.arange(n), pieces):
        series.extend(part, y[part])
    return series, y


@pytest.mark.parametrize("n", [1, 255, 256, 1000, 5000, 100_000])
@pytest.mark.parametrize("pieces", [1, 7])
def test_view_keeps_the_extremes(n, pieces):
    series, y = filled(n, pieces)
    _, shown = series.view(0, n, 200)
    assert shown.min() == y.min()
    assert shown.max() == y.max()


def test_view_is_bounded_by_the_screen():
    series, _ = filled(100_000)
    x, y = series.view(0, 100_000, 500)
    assert len(x) == len(y) <= 4 * 500 + 2 * FACTOR
    assert (np.diff(x) >= 0).all()


def test_view_of_few_points_is_exact():
    series, y = filled(100_000)
    x, shown = series.view(50_000, 50_100, 500)
    np.testing.assert_array_equal(shown, y[x.astype(int)])
    assert x[0] <= 50_000 <= 50_100 <= x[-1]


def test_every_window_shows_its_own_extremes():
    series, y = filled(20_000, 13)
    for start in range(0, 20_000, 1777):
        end = min(start + 9000, 20_000)
        _, shown = series.view(start, end, 300)
        assert shown.min() <= y[start:end].min()
        assert shown.max() >= y[start:end].max()


def test_resumed_run_replaces_what_followed():
    series, _ = filled(3000)
    series.extend(np.arange(1000, 1500), np.full(500, 7.0))
    assert len(series) == 1500
    assert series.at(1200) == 7.0
    assert series.at(999) != 7.0
    assert series.view(0, 3000, 100)[1].max() == 7.0


def test_at_takes_the_last_point_before():
    series = Series()
    series.extend(np.array([0, 10, 20]), np.array([1.0, 2.0, 3.0]))
    assert [series.at(s) for s in (-1, 0, 9, 10, 99)] == [None, 1.0, 1.0, 2.0, 3.0]


def test_smoothed_is_the_bias_corrected_average():
    raw, y = filled(500, 9)
    smooth = Smoothed(0.9)
    smooth.follow(raw)
    weights = 0.9 ** np.arange(300)[::-1]
    assert smooth.y[299] == pytest.approx((weights * y[:300]).sum() / weights.sum())


def test_smoothed_follows_in_pieces_and_after_a_cut():
    raw, whole = Series(), Smoothed()
    pieces = Smoothed()
    y = np.random.default_rng(1).normal(size=900)
    for part in np.array_split(np.arange(900), 5):
        raw.extend(part, y[part])
        pieces.follow(raw)
    whole.follow(raw)
    np.testing.assert_allclose(pieces.y, whole.y)
    raw.extend(np.arange(100, 200), np.zeros(100))
    pieces.follow(raw)
    fresh = Smoothed()
    fresh.follow(raw)
    np.testing.assert_allclose(pieces.y, fresh.y)


def test_gaps_do_not_spoil_the_average():
    raw, smooth = Series(), Smoothed()
    raw.extend(np.arange(3), np.array([1.0, np.nan, 1.0]))
    smooth.follow(raw)
    np.testing.assert_allclose(smooth.y, 1.0)


def test_a_dip_of_confidence_is_in_sight_under_its_objects_name(qtbot):
    """It lay below the plot, and obj_000001 was called "obj 000001"."""
    from self6d.events import Scalars
    from studio.curves.view import CurvesView

    view = CurvesView()
    qtbot.addWidget(view)
    values = np.where(np.arange(150) == 110, 0.88, 0.99)
    view.add_scalars(
        "track", [Scalars(i, {"confidence/obj_000001": v}) for i, v in enumerate(values)]
    )
    view.redraw_now()
    low, high = view.view.viewRange()[1]
    assert low < np.log10(0.88)
    assert high > np.log10(0.99)
    assert view._values_axis.tickStrings([-0.002, 0.0, 2.5], 1, 0.005) == ["0.995", "1", "316"]
    assert view._values_axis.tickStrings([-0.5, 0.0, 0.5, 2.5], 1, 0.5) == [
        "0.32",
        "1",
        "3.2",
        "316",
    ]
    assert "obj_000001" in view.legend.terms[0].text()


def test_total_and_self_are_one_line_where_they_are_the_same(qtbot):
    from self6d.events import Scalars
    from studio.curves.view import CurvesView

    view = CurvesView()
    qtbot.addWidget(view)
    terms = {"loss/mask": 0.1, "loss/self": 0.4}
    view.add_scalars("paper", [Scalars(step, terms | {"loss/total": 0.4}) for step in range(5)])
    assert view.terms() == ["total", "mask"]
    view.add_scalars("plus", [Scalars(step, terms | {"loss/total": 0.9}) for step in range(5)])
    assert view.terms() == ["total", "mask", "self"]


def test_texts_of_near_marks_do_not_lie_on_one_another(qtbot):
    """Two weights changed a few steps apart could not be read."""
    from itertools import combinations

    from PySide6.QtCore import QPointF

    from self6d.events import Scalars
    from studio.curves.view import CurvesView

    view = CurvesView()
    qtbot.addWidget(view)
    view.resize(700, 260)
    view.show()
    qtbot.waitExposed(view)
    view.add_scalars("run", [Scalars(i, {"loss/total": 1.0}) for i in range(400)])
    for step, text in ((100, "mask 0.5"), (104, "geometry 2"), (109, "mask 1"), (300, "ab 1")):
        view.add_mark("run", step, text)
    view.redraw_now()
    qtbot.waitUntil(lambda: view.view.mapViewToScene(QPointF(300, 0)).x() > 400)  # it is drawn

    def places():
        return [m.label.mapRectToScene(m.label.boundingRect()) for m in view._mark_lines]

    assert len(places()) == 4
    assert not any(a.adjusted(1, 1, -1, -1).intersects(b) for a, b in combinations(places(), 2)), (
        places()
    )
    tops = [place.top() for place in places()]
    assert tops[0] < tops[1] < tops[2]
    assert tops[3] == tops[0]  # alone it stands at the top
    assert all(view.view.sceneBoundingRect().contains(place.center()) for place in places())


def test_curves_name_their_runs(qtbot):
    """Nothing said whose curves were shown: of one run, of two, and of health."""
    from PySide6.QtCore import QPointF
    from PySide6.QtTest import QTest

    from self6d.events import Scalars
    from studio.curves.view import CurvesView

    view = CurvesView()
    qtbot.addWidget(view)
    view.resize(900, 260)
    view.show()
    qtbot.waitExposed(view)
    legend = view.legend
    first, second = "/runs/kitchen-stage1-01", "/runs/a-name-longer-than-the-legend-has-room-for-02"
    view.add_scalars(first, [Scalars(i, {"loss/total": 1.0}) for i in range(9)])
    assert [entry.text() for entry in legend.runs] == ["kitchen-stage1-01"]
    assert legend.runs[0].isVisible()
    health = {"loss/total": 2.0, "health/trust": 0.5}
    view.add_scalars(second, [Scalars(i, health) for i in range(9)])
    long = legend.runs[1]
    assert (long.text()[0], long.text()[-3:], long.toolTip()) == ("a", "-02", second)
    samples = [entry.grab().toImage() for entry in legend.runs]

    def dashed(picture) -> bool:
        line = {picture.pixel(x, picture.height() // 2) for x in range(1, 23)}
        return len(line) > 1

    assert [dashed(picture) for picture in samples] == [False, True]

    def told_at_mouse() -> str:
        place = view.view.mapViewToScene(QPointF(4, 0.1)).toPoint()
        view.plot.scene().sigMouseMoved.emit(QPointF(place))
        return view.readout.text()

    QTest.mouseMove(view.plot.viewport())
    assert told_at_mouse().startswith(long.text())  # whose values these are, of two
    view.choose_group("health")
    assert view.multiples.isVisible()
    assert [entry.toolTip() for entry in legend.runs] == [second]
    assert legend.runs[0]._dashes == long._dashes  # as in the other plot
    view.clear(keep=first)
    view.choose_group("loss")
    assert told_at_mouse().startswith("step ")  # the legend names the only one
    assert [entry.toolTip() for entry in legend.runs] == [first]
