"""Scores of predictions on labelled frames: metrics, protocols, tables, reports, BOP's files."""

from self6d.evaluation.bop_results import read_bop_results, write_bop_results
from self6d.evaluation.predictions import NetworkPredictor, Prediction, Predictor
from self6d.evaluation.protocols import evaluate
from self6d.evaluation.report import Report
from self6d.evaluation.results import InstanceResult, ObjectResult, Results

__all__ = [
    "InstanceResult",
    "NetworkPredictor",
    "ObjectResult",
    "Prediction",
    "Predictor",
    "Report",
    "Results",
    "evaluate",
    "read_bop_results",
    "write_bop_results",
]
