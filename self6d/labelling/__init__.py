"""Labels out: the poses of a track as other tools read labels."""

from self6d.labelling.label import FORMATS, LabelFormat, label
from self6d.labelling.masks import DrawnLabel, draw_labels
from self6d.labelling.rerun_file import have_rerun, write_rrd

__all__ = [
    "FORMATS", "DrawnLabel", "LabelFormat", "draw_labels", "have_rerun", "label", "write_rrd",
]  # fmt: skip
