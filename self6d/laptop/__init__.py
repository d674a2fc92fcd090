"""From CAD files and a recording to a network of one's own, without a GPU."""

from self6d.laptop.quick import QuickRun, quick

__all__ = ["QuickRun", "quick"]
