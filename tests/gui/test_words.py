"""What the window says: remedies name buttons where the shell names flags."""

import re

import pytest

from self6d.paths import resource
from studio.toolkit.dialogs import Banner
from studio.toolkit.words import in_window

pytestmark = pytest.mark.gui


@pytest.mark.parametrize(
    ("shell", "window"),
    [
        ("Name them with --models.", "Open the CAD models (step 1)."),
        ("Mend it and go on from the last checkpoint with --resume.",
         "Mend it and go on from the last checkpoint with Resume beside the run."),
        ("All of it: self6d-studio doctor /a/b c.d. To start anyhow: --no-check.",
         "All of it: the tab Doctor (step 1). To start anyhow: tick 'start whatever it finds'."),
        ("Name the unit it was modelled in: --unit m, cm, mm or inch.",
         "Name the unit it was modelled in: choose m, cm, mm or inch beside CAD unit."),
        ("Name the unit: --unit mm, or --unit m if the guess is right.",
         "Name the unit: choose mm beside CAD unit, or choose m beside CAD unit if the guess is "
         "right."),
        ("Use the preset self6d-plus, or --set adapt.pseudo=true.",
         "Use the preset self6d-plus, or set adapt.pseudo to true under All settings."),
        ("Free memory, or use smaller images, or --device cpu.",
         "Free memory, or use smaller images, or Device cpu."),
        ("Give a smaller --batch.", "Give a smaller 'batch'."),
        ("A frame--by--frame text -- with dashes", "A frame--by--frame text -- with dashes"),
    ],
)  # fmt: skip
def test_a_remedy_names_buttons(shell, window):
    assert in_window(shell) == window


def test_no_remedy_of_the_library_shows_a_flag():
    package = resource("help").parent.parent / "self6d"
    text = "\n".join(p.read_text() for p in package.rglob("*.py"))
    remedies = re.findall(r'remedy=\(?\s*f?"([^"]*)"', text)
    flags = [r for r in remedies if re.search(r"(^|\s|\()--[a-z]", r)]
    assert len(flags) > 20
    assert not [r for r in map(in_window, flags) if re.search(r"(^|\s|\()--[a-z]", r)]


def test_the_banner_says_it_so_and_copies_the_original(qtbot):
    from PySide6.QtGui import QGuiApplication
    from PySide6.QtWidgets import QWidget

    page = QWidget()
    qtbot.addWidget(page)
    banner = Banner(page)
    banner.say("bad", "No CAD. Name them with --models.")
    assert banner.text.text() == "No CAD. Open the CAD models (step 1)."
    banner.copy.click()
    assert QGuiApplication.clipboard().text() == "No CAD. Name them with --models."
