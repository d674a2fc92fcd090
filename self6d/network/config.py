"""Everything that differs between network forms, as one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from self6d.config import from_dict, load_preset
from self6d.config_fields import Checked, Limits
from self6d.errors import InputError

OF_PREDICTION = ("views", "instances", "further_score")
"""Fields that no weight depends on: a trained network can be told others."""
OF_LEARNING = (
    "coordinates_follow_rotation",
    "rois_per_image", "min_visible", "box_jitter", "disentangled", "loss_points",
    "class_weight", "box_weight", "centerness_weight", "mask_weight", "pose_weight",
    "translation_weight", "distance_weight", "coordinate_weight", "region_weight",
)  # fmt: skip
"""Fields that say how it learns, not what it is: where stage 1 is continued they may change."""
EARLIER: dict[str, Any] = {
    "about_centre": False, "instances": 1, "coordinates_follow_rotation": False,
}  # fmt: skip
"""What networks are whose files do not say, because they are older than the field."""


@dataclass
class NetworkConfig(Checked, section="network"):
    """One network class, three presets: every difference is a field here.

    The defaults are the `standard` preset (allocentric 6D rotation, scale-invariant translation,
    dense object coordinates on image crops). `paper` is Self6D's own form, `tiny` a small
    `standard` for two CPU cores.
    """

    backbone: str = "resnet18"
    """Detector backbone: resnet18/34/50, resnet18-w32 (32 channels wide), mobilenet_v3_large,
    efficientnet_b0, convnext_tiny or another torchvision name, or timm/NAME."""
    weights: str = "none"
    """Pretrained detector backbone: "none", "package" (an installed Python package's; for
    timm/tf_efficientnet_lite0 to 2), "cache" (torchvision's download folder; nothing is downloaded)
    or a .safetensors or .pth file."""
    frozen_batch_norm: bool = False
    """Keep batch-norm statistics and weights of the backbones fixed."""
    detector_scale: Annotated[float, Limits(0.01, 8)] = 0.75
    """Images are resampled by this factor for detection; crops always see full resolution."""
    pyramid_channels: Annotated[int, Limits(32, 2048)] = 128
    """Channels of every feature-pyramid level (a multiple of 32)."""
    pyramid_levels: Literal[3, 5] = 3
    """Pyramid levels from stride 8 on: 3 (8, 16, 32) or 5 (8 to 128, as in FCOS)."""
    head_convs: Annotated[int, Limits(0, 32)] = 2
    """Convolutions in each detector tower (4 in FCOS)."""
    box: Literal["visible", "amodal"] = "visible"
    """Which box the detector learns: of the visible part, or of the whole silhouette."""

    image_height: Annotated[int, Limits(0, 10_000)] = 0
    """Images of another height are resampled to it before anything looks at them, in `predict`, in
    packages and ONNX alike: a network trained on small images then sees large ones as it learned
    to. 0: as they come; `train` puts `synthesis.height` here where its camera's images are of
    another height."""

    roi_input: Literal["crop", "features"] = "crop"
    """What the pose branches look at: image crops through a second backbone, or the detector's
    fused features."""
    crop_backbone: str = "resnet34"
    """Second backbone, for roi_input "crop"."""
    crop_weights: str = "none"
    """Pretrained second backbone: as `weights`."""
    crop_size: Annotated[int, Limits(32, 1024)] = 128
    """Side of the square image crops, pixels (a multiple of 32)."""
    roi_size: Annotated[int, Limits(4, 512)] = 28
    """Side of the ROI-aligned feature maps for roi_input "features" (a multiple of 4)."""
    roi_samples: Annotated[int, Limits(1, 16)] = 2
    """ROI-Align samples per bin and axis (2 avoids aliasing where crops shrink the image)."""
    roi_padding: Annotated[float, Limits(1, 10)] = 1.5
    """RegionBoxes of interest are boxes enlarged by this factor."""
    roi_square: bool = True
    """Make regions square in viewing-ray space (handles fx != fy); else keep the box's aspect."""
    head_channels: Annotated[int, Limits(1, 4096)] = 128
    """Channels of the region features the branches share."""

    rotation: Literal["allocentric6d", "quaternion"] = "allocentric6d"
    """Rotation output: allocentric, first two columns; or an egocentric unit quaternion."""
    translation: Literal["site", "centroid"] = "site"
    """Translation output: scale-invariant, relative to region and focal length; or projected
    centroid and distance."""
    mask_prior: bool = True
    """Let the pose head correct a first guess of the translation from the predicted mask's centroid
    and area, with translation "site"."""
    about_centre: bool = True
    """Learn the position of the middle of the model's box, so that a CAD file's origin may lie
    anywhere; False: of the origin itself, as networks trained by earlier versions do."""
    pose_head: Literal["dense", "direct"] = "dense"
    """Rotation from dense object coordinates by a learned PnP, or directly from features."""
    translation_from: Literal["correspondences", "features"] = "correspondences"
    """Translation from what the learned PnP sees (GDR-Net), or directly from features (CDPN)."""
    fused_distance: bool = True
    """Average the head's distance with that which the visible object coordinates give, each as far
    as it is sure (pose_head "dense"): silhouettes behind occluders are guesses."""
    coordinates_follow_rotation: bool = True
    """Take the coordinates of a symmetric object to the symmetry its rotation means before they
    tell a distance; False: as networks learned that earlier versions trained."""
    pnp_features: Annotated[int, Limits(0, 1024)] = 16
    """Channels of region features given to the learned PnP beside the coordinates; 0 for none."""
    regions: Annotated[int, Limits(0, 4096)] = 32
    """Surface regions classified per pixel beside the coordinates (GDR-Net); 0 for none."""
    amodal_mask: bool = True
    """Also predict the mask of the whole silhouette."""
    mask_upsample: Annotated[int, Limits(1, 16)] = 2
    """Masks have this many times the side of the region features."""
    per_object: bool = True
    """Give each object its own output layers; else all objects share them."""

    instances: Annotated[int, Limits(1, 1000)] = 8
    """Most instances of one object given in an image: more for a bin of parts, 1 where it is known
    that each object is there at most once. Networks of earlier versions give 1."""
    further_score: Annotated[float, Limits(0, 1)] = 0.5
    """Lowest score of an object's second and later instances in an image; its best one only has to
    pass the threshold asked for."""
    views: Annotated[int, Limits(1, 33)] = 1
    """Boxes looked at per detection when predicting, shifted and scaled a little, whose poses are
    averaged: 9 are steadier and slower. Training looks at one, stage 2's teacher at as many."""

    rois_per_image: Annotated[int, Limits(1, 1024)] = 8
    """Most instances per image that the pose branches train on in one step."""
    min_visible: Annotated[float, Limits(0, 1)] = 0.15
    """Instances less visible than this fraction train neither pose nor mask."""
    box_jitter: Annotated[float, Limits(0, 0.499)] = 0.25
    """Training regions are shifted and scaled by up to this share of the box (dynamic zoom-in)."""
    disentangled: bool = True
    """Rotation and translation losses apart (GDR-Net), else equation (3) on the whole pose."""
    loss_points: Annotated[int, Limits(1, 100_000)] = 256
    """Model points in the pose loss."""
    symmetry_steps: Annotated[int, Limits(1, 10_000)] = 64
    """Samples of a full turn about a continuous symmetry axis."""

    class_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the focal loss."""
    box_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the GIoU loss."""
    centerness_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the centerness loss."""
    mask_weight: Annotated[float, Limits(0)] = 2.0
    """Weight of the mask loss."""
    pose_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the point-matching pose loss, in object diameters."""
    translation_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the loss on the translation code, used when disentangled."""
    distance_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the loss on the fused distance, used when disentangled."""
    coordinate_weight: Annotated[float, Limits(0)] = 5.0
    """Weight of the dense object-coordinate loss."""
    region_weight: Annotated[float, Limits(0)] = 0.3
    """Weight of the surface-region loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, unit in (("pyramid_channels", 32), ("crop_size", 32), ("roi_size", 4)):
            value = getattr(self, name)
            if value % unit:
                raise InputError(
                    f"network.{name}: {value} is not a multiple of {unit}",
                    remedy=f"Use {value // unit * unit or unit}.",
                )

    @classmethod
    def of_checkpoint(cls, stored: dict[str, Any]) -> NetworkConfig:
        """What a checkpoint or package says of its network, those of earlier versions included."""
        return from_dict(cls, {**EARLIER, **stored}, prefix="network.")

    @classmethod
    def preset(cls, name: str) -> NetworkConfig:
        """The [network] table of a preset: "tiny", "standard", "paper", or a TOML file."""
        return from_dict(cls, load_preset(name).get("network", {}), prefix="network.")
