"""Configuration of stage 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from self6d.config_fields import Checked, Limits
from self6d.errors import InputError


@dataclass
class AdaptConfig(Checked, section="adapt"):
    """How stage 2 adapts a network to unlabelled frames. The defaults are the paper's form."""

    steps: Annotated[int, Limits(1, 10**9)] = 600
    """Optimiser steps."""
    minutes: Annotated[float, Limits(0, 10**6)] = 0.0
    """The run ends after so many minutes of work at the latest, pauses not counted, its learning
    rate falling to zero by then as it would by the last step; 0: steps alone decide."""
    batch: Annotated[int, Limits(1, 1024)] = 6
    """Frames a step (and a GPU)."""
    max_objects: Annotated[int, Limits(1, 4096)] = 32
    """Most detected objects rendered in a step; more are drawn at random."""
    region: Annotated[int, Limits(16, 2048)] = 256
    """Side of the square regions that are rendered and compared, pixels."""
    padding: Annotated[float, Limits(0.1, 10)] = 1.3
    """Side of a region against the longer side of the object's box."""
    use_depth: bool = True
    """False ignores the frames' depth altogether (RGB-only mode)."""
    image_height: Annotated[int, Limits(0, 10_000)] = 0
    """Frames are resampled to this height, pixels; 0: to what the network resamples its images to,
    else they stay as they come."""
    cache_mb: Annotated[int, Limits(0)] = 4096
    """Frames are kept in memory if all together need no more than this; else read again."""

    scope: Literal["heads", "pose", "all"] = "pose"
    """What is trained: mask and pose branches, all behind the detector, or everything."""
    self_scope: Literal["auto", "heads", "scope"] = "auto"
    """What L_self itself moves: the pose heads alone, or all of `scope`. "auto": the heads if the
    network's translation starts from its own mask, since that start passes on no gradient."""
    lr: Annotated[float, Limits(0, 1)] = 1e-4
    """Learning rate of AdamW, while it is flat."""
    warmup: Annotated[int, Limits(0)] = 100
    """Steps over which the learning rate rises."""
    flat: Annotated[float, Limits(0, 1)] = 0.72
    """Share of the steps with the full learning rate; a cosine to zero follows."""
    weight_decay: Annotated[float, Limits(0, 10)] = 0.0
    """Of weights; biases and norms have none."""
    clip: Annotated[float, Limits(0)] = 1.0
    """Largest gradient norm; 0: not clipped."""
    amp: Literal["auto", "bf16", "off"] = "auto"
    """Arithmetic of what the network learns from: bfloat16 where allowed ("auto": on CUDA), or
    float32. Poses are decoded, rendered and compared in float32."""
    ema: Annotated[float, Limits(0, 0.999_999)] = 0.99
    """Decay of the teacher's weights, moved after every step; the teacher is what is exported."""
    box_jitter: Annotated[float, Limits(0, 0.5)] = 0.05
    """The student's boxes are shifted and scaled by up to this share."""
    augment: Annotated[float, Limits(0, 10)] = 0.0
    """Strength of the photometric augmentation that only the student sees."""
    roll_deg: Annotated[float, Limits(0, 180)] = 0.0
    """Camera augmentation: frames with selected poses are rolled by up to this angle, degrees."""
    zoom: Annotated[float, Limits(0, 4)] = 0.0
    """Camera augmentation: focal lengths are longer or shorter by up to this share."""
    turn_deg: Annotated[float, Limits(0, 180)] = 0.0
    """Objects whose poses are given (--poses) are turned in most frames by up to this angle about
    any axis, with the colours that the frame shows of them and the model's elsewhere, degrees. Not
    while the learning rate falls: true outlines tell distances last."""
    cover: Annotated[float, Limits(0, 1)] = 0.0
    """Share of those frames into which occluders are drawn, so that less of the objects is seen."""
    detection_score: Annotated[float, Limits(0, 1)] = 0.3
    """Lowest score of a detection that counts."""

    refresh_every: Annotated[int, Limits(0)] = 150
    """Steps after which the teacher looks at frames again; 0: only at the start."""
    refresh_frames: Annotated[int, Limits(0)] = 0
    """Frames looked at (and refined) in each refresh, in turn; 0: all of them."""

    self_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of L_self on the student's poses; with pseudo-poses, where one is selected."""
    pseudo: bool = False
    """Refine the teacher's poses on their frames and learn from those that checks agree on."""
    pseudo_weight: Annotated[float, Limits(0)] = 10.0
    """Weight of the point-matching loss to selected poses, metres (Self6D++)."""
    label_weight: Annotated[float, Limits(0)] = 0.0
    """Weight of the network's own stage-1 losses on selected poses."""
    pseudo_steps: Annotated[int, Limits(1, 100_000)] = 60
    """Optimiser steps of a refinement; flips, starts and step sizes come from [optimize]."""
    pseudo_region: Annotated[int, Limits(16, 2048)] = 128
    """Side of the regions in a refinement, pixels."""
    pseudo_colour: bool = True
    """Refine with MS-SSIM and the perceptual term too; without them it costs a third."""
    refiner: str = ""
    """Run or file of a trained RGB refiner, or "shipped". It moves the teacher's poses before they
    are refined on depth; without depth its poses are what is learned from. With given poses
    (--poses) it only learns. Empty: none."""
    refiner_lr: Annotated[float, Limits(0)] = 1e-4
    """Learning rate of the refiner, which learns from the selected or given poses beside the
    network where there is depth, on the same schedule, and stays with the run; 0: it stays as it
    was trained."""
    refiner_every: Annotated[int, Limits(1)] = 1
    """Steps for one of the refiner, where poses are given (--poses)."""
    pseudo_chunk: Annotated[int, Limits(1, 4096)] = 64
    """Starts refined at once."""
    keep_iou: Annotated[float, Limits(0, 1)] = 0.7
    """A refined pose is selected only if rendered and predicted mask overlap this much."""
    keep_inliers: Annotated[float, Limits(0, 1)] = 0.5
    """A refined pose is selected only if it explains this share of the depth under the mask."""
    keep_spread: Annotated[float, Limits(0)] = 0.1
    """A refined pose is selected only if the starts judged as good lie within so many diameters."""
    keep_confidence: Annotated[float, Limits(0, 1)] = 0.5
    """Without depth a pose of the RGB refiner is selected only at this confidence or more."""
    keep_share: Annotated[float, Limits(0, 1)] = 0.8
    """Share of an object's poses, the most trusted, that can be selected. Below 1 doubtful ones are
    dropped, but where one stretch of a recording is seen worse, so is all of that stretch."""

    still: bool = False
    """For stretches of frames nothing but the camera moves. With depth the camera's way is
    measured, and sound poses are carried to the frames whose depth confirms them. Without, the
    poses of all frames are solved together, one place for each object and one camera a frame, and
    the RGB refiner learns from them too. Needs pseudo-poses."""

    track_confidence: Annotated[float, Limits(0, 1)] = 0.8
    """Poses of a track (--poses) are learned from if its confidence in them is at least this."""

    synthetic: Annotated[float, Limits(0)] = 0.0
    """Weight of stage-1 losses on synthetic images mixed in; 0: none."""
    synthetic_batch: Annotated[int, Limits(1, 1024)] = 4
    """Synthetic images a step."""

    health_every: Annotated[int, Limits(1)] = 50
    """Steps between label-free health checks."""
    health_frames: Annotated[int, Limits(1, 100_000)] = 16
    """Frames a health check looks at, spread over the recording."""
    collapse: Annotated[float, Limits(0, 1)] = 0.5
    """The run is stopped when its health falls below this share of its best, or rendering and depth
    drift apart, twice in a row; 0: never."""
    patience: Annotated[int, Limits(0)] = 0
    """Health checks without a new best after which the run ends; 0: it never ends early."""

    @property
    def selected_alone(self) -> bool:
        """Whether L_self, on selected poses, is all that a step compares the student's poses by."""
        return self.pseudo and self.self_weight > 0 and self.pseudo_weight == 0

    @property
    def pulled(self) -> bool:
        """Whether the student's poses are drawn to selected ones."""
        return self.pseudo and self.pseudo_weight > 0

    def check_pseudo(self) -> None:
        """What moves pseudo-poses needs some.

        Raises:
            InputError: a refiner, or `still`, without `pseudo`.
        """
        for name, asked in (("refiner", self.refiner), ("still", self.still)):
            if asked and not self.pseudo:
                raise InputError(
                    f"adapt.{name} moves pseudo-poses, and this preset has none",
                    remedy="Use the preset self6d-plus, or --set adapt.pseudo=true.",
                )
