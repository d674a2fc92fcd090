"""What tests of tracking share."""

from pathlib import Path

import pytest
from block_shapes import block

from self6d.scene.models_copy import save_models


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folder of the block's CAD file."""
    folder = tmp_path_factory.mktemp("cad")
    save_models([block()], folder)
    return folder
