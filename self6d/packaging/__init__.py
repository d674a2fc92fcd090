"""Trained networks for use elsewhere: a folder that stands alone, ONNX, torch.export."""

from self6d.packaging.package import PoseEstimate, PosePredictor, export_run, load_package
from self6d.packaging.photograph import photograph
from self6d.packaging.program import export_program, save_onnx
from self6d.packaging.trained import load_trained

__all__ = [
    "PoseEstimate",
    "PosePredictor",
    "export_program",
    "export_run",
    "load_package",
    "load_trained",
    "photograph",
    "save_onnx",
]
