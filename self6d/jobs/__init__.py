"""The jobs, as Python functions: what the command line and the window both call.

Each takes a listener for events and, where it makes a run, a control for requests; it writes a run
folder that stands alone (configuration, models, checkpoints, curves) and raises `self6d.errors`
only.
"""

from self6d.loading import collector_rests

with collector_rests():
    from self6d.jobs.adapt import adapt
    from self6d.jobs.evaluate import EvaluateOptions, evaluate
    from self6d.jobs.export import export, slim
    from self6d.jobs.optimize import optimize
    from self6d.jobs.pack import pack
    from self6d.jobs.predict import predict
    from self6d.jobs.preview import synth_preview, synthetic_sheet
    from self6d.jobs.track import track
    from self6d.jobs.train import train
    from self6d.jobs.train_refiner import train_refiner

__all__ = [
    "EvaluateOptions",
    "adapt",
    "evaluate",
    "export",
    "optimize",
    "pack",
    "predict",
    "slim",
    "synth_preview",
    "synthetic_sheet",
    "track",
    "train",
    "train_refiner",
]
