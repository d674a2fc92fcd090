"""The one list of L_self's terms: each has a weight, and the help shows it."""

from self6d.config import describe
from self6d.losses.objective import LossConfig
from self6d.losses.terms import COLOUR_TERMS, LISTED, TERMS, as_markdown
from self6d.paths import resource


def test_each_term_has_a_weight():
    weights = {field.key: field for field in describe(LossConfig())}
    for name in TERMS:
        assert weights[name].minimum == 0
    assert list(LossConfig().weights) == list(TERMS)
    assert set(COLOUR_TERMS) == {"ab", "ms_ssim", "perceptual"}


def test_the_help_has_a_place_for_the_terms():
    assert "{terms}" in resource("help/selfsup.md").read_text(encoding="utf-8")
    lines = as_markdown().splitlines()
    assert len(lines) == 2 + len(LISTED)
    assert lines[-1].startswith("| depth (geometry) | sensor depth")
