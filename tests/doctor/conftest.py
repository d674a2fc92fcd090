"""Fixtures of the doctor's tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for symmetry takes a second; tests of other findings do without."""
    from self6d.doctor import models as doctor_models
    from self6d.scene import Symmetry
    from self6d.scene.symmetry import FoundSymmetry

    none = FoundSymmetry(Symmetry(), Symmetry())
    monkeypatch.setattr(doctor_models, "find_symmetry", lambda model: none)
