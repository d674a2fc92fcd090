"""The start page is seen whole, with what was open before and without."""

import pytest

pytestmark = pytest.mark.gui


@pytest.mark.parametrize("recents", [0, 1, 4])
@pytest.mark.parametrize("size", [(1280, 800), (1024, 700)])
def test_nothing_has_to_be_scrolled_to(qapp, open_studio, settings, tmp_path, wait, size, recents):
    """At 1280 x 800 "How it works" was cut by the first recording that was open before."""
    for i in range(recents):
        recording = tmp_path / f"recording {'with a very long name ' * 6}{i}"
        recording.mkdir()
        settings.add_recent(recording, [])
    window = open_studio()
    window.showNormal()
    window.resize(*size)
    wait(lambda: window.size().toTuple() == size)
    qapp.processEvents()
    area, page = window.welcome_page, window.welcome
    assert page._recent.count() == recents
    assert area.verticalScrollBar().maximum() == 0
    assert page.width() == area.viewport().width()
    buttons = (page.sample_button, page.open_button, page.models_button, page.tour_button)
    assert all(not one.visibleRegion().isEmpty() for one in buttons)
    assert page.tour.isVisible() or recents or size != (1280, 800)
    window.resize(1280, 2 * size[1])
    qapp.processEvents()
    assert page.tour.isVisible()
