"""A trained network as a folder that stands alone: weights, configuration, models, an example.

model.safetensors   weights
model.json          form of the network, objects, camera, where it came from, checksum
models/             CAD models (BOP layout), which name the objects and shape the network
model.onnx          the same network for ONNX runtimes (optional)
model.int8.onnx     the same with eight-bit convolutions, for CPUs (optional)
model.pt2           the same network as a torch.export program (optional)
refiner.safetensors an RGB refiner that moves the network's poses (optional)
refiner.onnx        the same for ONNX runtimes, see `save_refiner_onnx`
example.py          image and K in, poses out; example_onnx.py needs no torch
ros2_node.py        the same in a ROS 2 node, checked against recorded messages only
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from self6d import __version__
from self6d.arguments import checked
from self6d.config import to_dict
from self6d.config_fields import Limits, shown
from self6d.datasets.distortion import distortion as distortion_of
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.recording import pinhole_images
from self6d.errors import CheckpointError, InputError, StorageError
from self6d.files import check_free, read_bytes, read_json
from self6d.geometry import Camera
from self6d.network import NetworkConfig, PoseNetwork
from self6d.network.captured import CapturedForward
from self6d.network.detector import places
from self6d.packaging.folding import fold_batch_norms
from self6d.packaging.int8 import require_quantiser, save_int8
from self6d.packaging.program import (
    export_program,
    require_onnx,
    save_onnx,
    save_refiner_onnx,
)
from self6d.paths import NO_REFINER, PACKED_REFINER, resource
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.refinement.rgb.weights import holds_refiner, save_refiner
from self6d.runs.folder import RunFolder, versions
from self6d.runs.load_network import TrainedNetwork, load_network
from self6d.scene import ObjectModel
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models
from self6d.storage import whole_folder

FORMAT = 1
DEFAULT_SIZE = (480, 640)
OR_ONNX = " (or see example_onnx.py)"


@dataclass(frozen=True)
class PoseEstimate:
    """One instance of an object, found in an image.

    Attributes:
        object_id: BOP number. name: of the object. score: in [0, 1].
        R: (3, 3) float64, t: (3,) float64, metres, model to camera (OpenCV axes).
        box: (4,) float64, x0 y0 x1 y1, pixels.
        confidence: with a refiner the probability, as learned on synthetic images, that the pose is
            within a tenth of the diameter; None without one.
    """

    object_id: int
    name: str
    score: float
    R: np.ndarray
    t: np.ndarray
    box: np.ndarray
    confidence: float | None = None


class PosePredictor:
    """An exported network, ready for use.

    Args:
        network: in evaluation mode. models: its objects, named, in its order.
        device: where it is. refiner: moves the network's poses; None: they stay.
        bfloat16: see `CapturedForward`; the refiner keeps its float32.
        camera: of the images that the network was trained for; None: unknown. step: steps trained.
    """

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        device: torch.device,
        refiner: RgbRefiner | None = None,
        bfloat16: bool = False,
        camera: Camera | None = None,
        step: int = 0,
    ) -> None:
        self.network, self.camera, self.step = network, camera, step
        self.models = list(models)
        self.names = {model.object_id: model.name for model in models}
        self.device = device
        self.refiner = refiner
        self._forward = CapturedForward(network, bfloat16)

    @checked
    def __call__(
        self,
        image: np.ndarray,
        K: np.ndarray,
        *,
        score_threshold: Annotated[float, Limits(0, 1)] = 0.3,
        looks: int | None = None,
        distortion: Sequence[float] = (),
        distortion_model: str = "",
    ) -> list[PoseEstimate]:
        """Poses of the objects in an image, best score first.

        Each object is given up to `network.instances` times (model.json).

        Args:
            image: (H, W, 3) uint8 RGB.
            K: (3, 3), pixels, pixel centres at whole numbers, as OpenCV calibrates it.
            score_threshold: estimates below are left out.
            looks: how often a refiner compares image and rendering and moves the poses; 0: they
                stay the network's; None: as the refiner is configured, 0 without one.
            distortion: the lens's coefficients in OpenCV's order, which are undone; none: the image
                is free of it, as `photograph` gives it.
            distortion_model: their model, such as "fisheye"; OpenCV's polynomial by default.

        Raises:
            InputError: another kind of array, an impossible K, score or distortion, looks without
                refiner.
        """
        if looks and self.refiner is None:
            raise InputError(
                "this package has no refiner",
                remedy="Export with --refiner shipped, or one of your own.",
            )
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"image is {image.dtype} of shape {image.shape}",
                remedy="Give (H, W, 3) uint8, RGB order.",
            )
        K = np.asarray(K, dtype=np.float64).reshape(3, 3)
        stated = Intrinsics(K, distortion=distortion_of(distortion, distortion_model))
        camera = stated.camera(image.shape[1], image.shape[0])
        image, _ = pinhole_images(stated, camera, image, None)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        images = pixels.permute(2, 0, 1)[None].float() / 255
        intrinsics = torch.tensor(camera.K, dtype=torch.float32, device=self.device)[None]
        detections = self._forward.predict(images, intrinsics, score_threshold=score_threshold)
        sure: list[float | None] = [None] * len(detections)
        if self.refiner is not None and looks != 0:
            refine = self.refiner.refine_predicted
            detections, confidence = refine(images, intrinsics, detections, looks)
            keep = ~self.network.moved_together(detections)
            detections, sure = detections[keep], confidence[keep].tolist()
        score, R, t, box = (
            part.double().cpu().numpy()
            for part in (detections.score, detections.R, detections.t, detections.box)
        )
        ids = [self.network.object_ids[i] for i in detections.object_index.tolist()]
        return [
            PoseEstimate(ids[i], self.names[ids[i]], float(score[i]), R[i], t[i], box[i], sure[i])
            for i in np.argsort(-score, kind="stable")
        ]


def export_run(
    run: RunFolder | str | Path,
    to: str | Path,
    *,
    onnx: bool = True,
    int8: bool = False,
    program: bool = False,
    size: tuple[int, int] | None = None,
    views: int | None = None,
    instances: int | None = None,
    refiner: str | Path | None = None,
) -> list[Path]:
    """Write a run's network to a new folder; inference from there needs RGB and K alone.

    Args:
        run: run folder; its best checkpoint, else its newest.
        to: folder to make; must not exist or be empty.
        onnx: also write model.onnx and example_onnx.py.
        int8: with ONNX, also write model.int8.onnx; model.json tells how many poses of synthetic
            images it gets right, and how many model.onnx does, see `save_int8`.
        program: also write model.pt2 (torch.export).
        size: (height, width) of the images that ONNX and the program take; None: of the images the
            network was trained for, else 480 x 640. The weights themselves take any size.
        views, instances: see `NetworkConfig`; None: as configured. ONNX and the program have a
            fixed number of places for detections, each of which costs time: `program` says which.
        refiner: RGB refiner to put beside the network: run folder, file or "shipped"; None: the one
            that the run adapted, if it did; "none": no refiner.

    Returns:
        the files written.

    Raises:
        InputError: `to` holds files, the refiner does not know an object, or a size that no image
            has or nothing is written for.
        CheckpointError: no network in the run. StorageError: disk full, ....
        MissingDependencyError: the ONNX packages are not installed.
    """
    to = Path(to)
    check_free(to)
    if size is not None:
        size = _size(size, used=onnx or int8 or program)
    if onnx or int8:
        require_onnx()
    if int8:
        require_quantiser()
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    trained = load_network(run, views=views, instances=instances)
    size = size or (trained.camera.size if trained.camera else DEFAULT_SIZE)
    if refiner is None and holds_refiner(run.path):
        refiner = run.path
    looker = (
        None
        if refiner in (None, NO_REFINER)
        else RgbRefiner.load(refiner, trained.models, beside=Path(refiner) == run.path)
    )
    try:
        with whole_folder(to) as part:
            _write(part, run, trained, onnx or int8, int8, program, size, looker)
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror})", path=to, remedy="Name another folder."
        ) from error
    return sorted(path for path in to.rglob("*") if path.is_file())


def _size(given: Any, *, used: bool) -> tuple[int, int]:
    """The (height, width) of images that is exported for, as whole numbers; else `InputError`."""
    sides = list(given) if isinstance(given, Iterable) else [given]
    if len(sides) != 2 or not all(isinstance(n, Integral) and int(n) >= 1 for n in sides):
        raise InputError(
            f"size: {shown(given)} is not the size of an image",
            remedy="Give (height, width) in pixels, such as (480, 640).",
        )
    if not used:
        raise InputError(
            "size: ONNX and the program are of one size, and neither is written",
            remedy="Leave it out: the weights take any size.",
        )
    return int(sides[0]), int(sides[1])


def _write(
    out: Path,
    run: RunFolder,
    trained: TrainedNetwork,
    onnx: bool,
    int8: bool,
    program: bool,
    size: tuple[int, int],
    refiner: RgbRefiner | None,
) -> None:
    network, camera = trained.network, trained.camera
    weights = safetensors.torch.save(
        {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    )
    (out / "model.safetensors").write_bytes(weights)
    save_models(trained.models, out / "models")
    info: dict[str, Any] = {
        "format": FORMAT,
        "network": to_dict(network.config),
        "objects": [{"id": m.object_id, "name": m.name} for m in trained.models],
        "camera": None
        if camera is None
        else {"K": camera.K_opencv.tolist(), "width": camera.width, "height": camera.height},
        "sha256": hashlib.sha256(weights).hexdigest(),
        "run": {"name": run.path.name, "kind": run.kind, "seed": run.seed, "step": trained.step},
        "versions": {"self6d-studio": __version__, **versions()},
    }
    if refiner is not None:
        save_refiner(out / PACKED_REFINER, refiner.network, refiner.object_ids)
        info["refiner"] = {
            "sha256": hashlib.sha256((out / PACKED_REFINER).read_bytes()).hexdigest(),
            "looks": refiner.network.config.looks,
            "share": refiner.network.config.share,
            "objects": refiner.object_ids,
        }
        if onnx:
            save_refiner_onnx(refiner.network, out / "refiner.onnx")
    if onnx or program:
        exported = export_program(network, size)
        info["exported_size"] = {"height": size[0], "width": size[1]}
        info["exported_detections"] = places(len(trained.models), network.config.instances)
        if program:
            torch.export.save(exported, out / "model.pt2")
        if onnx:
            save_onnx(exported, out / "model.onnx")
            shutil.copyfile(resource("export/example_onnx.py"), out / "example_onnx.py")
        if int8:
            info["int8"] = save_int8(
                out / "model.onnx", out / "model.int8.onnx", network, trained.models, camera, size
            )
    (out / "model.json").write_text(json.dumps(info, indent=1) + "\n")
    shutil.copyfile(resource("export/ros2_node.py"), out / "ros2_node.py")
    example = resource("export/example.py").read_text()
    (out / "example.py").write_text(example if onnx else example.replace(OR_ONNX, ""))


def load_package(
    folder: str | Path, device: torch.device | str = "cpu", *, bfloat16: bool = False
) -> PosePredictor:
    """The network of a folder that `export_run` wrote.

    Args:
        bfloat16: convolve in it: under half the time on a CPU with AMX, more on others.

    Raises:
        InputError: a file is missing. CheckpointError: a file is damaged or of another version.
    """
    folder = Path(folder)
    info = read_json(folder / "model.json", "package description")
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise CheckpointError(
            "is not a package of this version",
            path=folder / "model.json",
            remedy="Export the run again.",
        )
    path = folder / "model.safetensors"
    data = _checked(path, info.get("sha256"))
    by_id = {model.object_id: model for model in load_models(folder / "models", unit="mm")}
    names = {int(o["id"]): str(o["name"]) for o in info["objects"]}
    missing = [i for i in names if i not in by_id]
    if missing:
        raise InputError(
            f"holds no CAD model of object {missing[0]}",
            path=folder / "models",
            remedy="Export the run again.",
        )
    config = NetworkConfig.of_checkpoint(info["network"])
    config.weights = config.crop_weights = "none"  # they are in the file
    models = [replace(by_id[i], name=name) for i, name in names.items()]
    network = PoseNetwork(config, models)
    try:
        network.load_state_dict(safetensors.torch.load(data))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"does not fit the network ({str(error).splitlines()[0][:120]})",
            path=path,
            remedy="Export the run again with this version.",
        ) from error
    network.eval()
    if torch.device(device).type == "cpu":
        fold_batch_norms(network)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    refiner = None
    if "refiner" in info:
        _checked(folder / PACKED_REFINER, info["refiner"].get("sha256"))
        refiner = RgbRefiner.load(folder / PACKED_REFINER, models, device, beside=True)
    camera, stated = None, info["camera"]
    if stated:
        camera = Camera.from_opencv(np.array(stated["K"]), stated["width"], stated["height"])
    step = int(info["run"]["step"])
    return PosePredictor(network, models, torch.device(device), refiner, bfloat16, camera, step)


def _checked(path: Path, sha256: str | None) -> bytes:
    """A file's bytes, which are those that were exported."""
    data = read_bytes(path, "weights")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(
            "is damaged (checksum differs)", path=path, remedy="Export the run again."
        )
    return data
