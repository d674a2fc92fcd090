"""Labels out: the poses of a track as other tools read labels."""

from self6d.labelling.label import FORMATS, LabelFormat, label
from self6d.labelling.masks import DrawnLabel, draw_labels

__all__ = ["FORMATS", "DrawnLabel", "LabelFormat", "draw_labels", "label"]
