"""The exported network with convolutions in eight bits, for CPUs: under half the time of float32.

Static quantisation (Jacob et al., CVPR 2018) by ONNX Runtime: ranges of activations are those of
synthetic images, weights have a scale a channel. The first convolution and those that put out
classes, boxes and centerness stay in float32, as do all fully connected layers, hence poses.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self6d.errors import MissingDependencyError
from self6d.geometry import Camera
from self6d.network import Detections, PoseNetwork
from self6d.packaging.program import FixedNetwork
from self6d.rng import mixed_seed
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.validation import VISIBLE, recalls
from self6d.synthesis import SceneMaker, SynthesisConfig, scaled_camera

CALIBRATED, COMPARED, TOGETHER = 16, 32, 4  # images
SCORE = 0.3  # detections below do not count, as in a package
KEPT = ("cls_logits", "bbox_reg", "bbox_ctrness")  # put out by the detector


def require_quantiser() -> None:
    """Raise MissingDependencyError if eight-bit networks cannot be made here."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            "an eight-bit network needs onnxruntime",
            remedy='Install it: pip install "self6d-studio[onnx]", or export without --int8.',
        )


def save_int8(
    onnx: Path,
    to: Path,
    network: PoseNetwork,
    models: Sequence[ObjectModel],
    camera: Camera | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """Write the eight-bit network of an exported one, and compare the two on synthetic images.

    Args:
        onnx: what `save_onnx` wrote, for images of `size`. to: file to make.
        network, models: what was exported. camera: of its images; None: a common one.
        size: (height, width).

    Returns:
        "images", "instances" (visible by more than 30 %), "float32" and "int8": share of these with
        ADD below 10 % of the diameter (of the nearest symmetric pose). None of the images was used
        for calibration.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    maker = SceneMaker(
        models,
        scaled_camera(camera, size[0]).resized(size[1], size[0]),
        SynthesisConfig(height=size[0], background_pool=32).for_instances(network.config.instances),
    )
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory(prefix="self6d-int8-") as folder:
        plain = Path(folder, "plain.onnx")
        root.setLevel(logging.ERROR)  # it advises to do what is done here
        try:
            quant_pre_process(str(onnx), str(plain), skip_symbolic_shape=True)
            quantize_static(
                str(plain),
                str(to),
                _Images(maker),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_kept(plain),
            )
        finally:
            root.setLevel(level)
    return _compared(onnx, to, network, maker)


def _batches(maker: SceneMaker, stream: int, count: int) -> Iterator[LabelledBatch]:
    for step in range(count // TOGETHER):
        yield maker.make(TOGETHER, mixed_seed(stream, 8), step)


def _inputs(batch: LabelledBatch) -> Iterator[dict[str, np.ndarray]]:
    """One image after another, as the exported network takes them."""
    half_pixel = FixedNetwork.shift()
    for image, K in zip(batch.images, batch.K - half_pixel, strict=True):
        yield {"image": image[None].numpy(), "K": K[None].numpy()}


class _Images:
    """What the quantiser asks for images to calibrate on."""

    def __init__(self, maker: SceneMaker) -> None:
        batches = _batches(maker, 0, CALIBRATED)
        self._inputs = (one for batch in batches for one in _inputs(batch))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def _kept(path: Path) -> list[str]:
    """Names of the convolutions that stay in float32."""
    import onnx

    convolutions = [n for n in onnx.load(str(path)).graph.node if n.op_type == "Conv"]
    own = [n.name for n in convolutions if any(word in n.input[1] for word in KEPT)]
    return [convolutions[0].name, *own]


def session(path: Path) -> Any:
    """An ONNX Runtime session on the CPU, on as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _compared(
    plain: Path, quantised: Path, network: PoseNetwork, maker: SceneMaker
) -> dict[str, Any]:
    sessions = {"float32": session(plain), "int8": session(quantised)}
    right = dict.fromkeys(sessions, 0.0)
    instances = 0
    for batch in _batches(maker, 1, COMPARED):
        asked = int((batch.visible_fraction > VISIBLE).sum())
        instances += asked
        for name, running in sessions.items():
            found = Detections.cat(
                [
                    _detections(running.run(None, one), i, network.object_ids)
                    for i, one in enumerate(_inputs(batch))
                ]
            )
            right[name] += asked * recalls(network, found, batch)["add_recall"]
    shares = {name: count / max(instances, 1) for name, count in right.items()}
    return {"images": COMPARED, "instances": instances, **shares}


def _detections(outputs: Sequence[np.ndarray], image: int, object_ids: list[int]) -> Detections:
    """What an exported network put out for an image; of masks it says nothing."""
    box, score, classes, R, t = (torch.from_numpy(part) for part in outputs)
    index = torch.tensor([object_ids.index(i) for i in classes.tolist()])
    masks = box.new_zeros(len(box), 1, 2, 2)
    found = Detections(torch.full_like(index, image), index, score, box, R, t, masks, box)
    return found[score > SCORE]
