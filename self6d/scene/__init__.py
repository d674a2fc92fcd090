"""What is in the world: object models and sensor frames."""

from self6d.scene.frame import Frame, GroundTruth, alike_frames
from self6d.scene.mesh import ObjectModel, Symmetry, of_one_size

__all__ = ["Frame", "GroundTruth", "ObjectModel", "Symmetry", "alike_frames", "of_one_size"]
