"""The recording's colours on the CAD models: poses and frames in, coloured models out."""

from self6d.recolouring.folder import recolour
from self6d.recolouring.fuse import FuseOptions
from self6d.recolouring.models import RecolouredModel, RecolourReport, recolour_models

__all__ = ["FuseOptions", "RecolourReport", "RecolouredModel", "recolour", "recolour_models"]
