"""What stage-1 images look like. One docstring a field: they also label forms and TOML files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from self6d.config_fields import Checked, Limits
from self6d.errors import InputError
from self6d.geometry import Camera


@dataclass
class SynthesisConfig(Checked, section="synthesis"):
    """Contents, poses, light and camera of the images a network is trained on."""

    height: Annotated[int, Limits(32, 4096)] = 480
    """Height of the images, pixels; the camera is scaled to it."""

    instances_min: Annotated[int, Limits(1, 100)] = 3
    """Fewest labelled instances in an image."""

    instances_max: Annotated[int, Limits(1, 100)] = 8
    """Most labelled instances in an image."""

    distractors_min: Annotated[int, Limits(0, 100)] = 1
    """Fewest unlabelled things in an image."""

    distractors_max: Annotated[int, Limits(0, 100)] = 5
    """Most unlabelled things in an image."""

    repeat: Annotated[float, Limits(0, 1)] = 0.2
    """Share of instances that may repeat an object already in the image (one object: always)."""

    bins: Annotated[float, Limits(0, 1)] = 0.1
    """Share of images whose instances are all copies of one object, as in a bin of parts; none
    where network.instances is 1."""

    resting: Annotated[float, Limits(0, 1)] = 0.5
    """Share of images in which things rest on a table (physically plausible); else they float."""

    clutter: Annotated[float, Limits(0, 1)] = 0.6
    """Share of floating instances put before or behind others; how densely resting ones lie."""

    ranges: Literal["recording", "size"] = "recording"
    """Where distances come from if both are 0: the depth of the recording whose camera the images
    have (no label is read), or the objects' apparent size alone, as where there is no depth."""

    distance_near_m: Annotated[float, Limits(0)] = 0.0
    """Nearest distance of an instance, metres; 0: see `ranges`, else from `apparent_max`."""

    distance_far_m: Annotated[float, Limits(0)] = 0.0
    """Farthest distance of an instance, metres; 0: see `ranges`, else from `apparent_min`."""

    apparent_min: Annotated[float, Limits(0.001, 10)] = 0.12
    """Smallest projected diameter of a middle-sized object over the image's short side."""

    apparent_max: Annotated[float, Limits(0.001, 10)] = 0.55
    """Largest projected diameter of a middle-sized object over the image's short side."""

    elevation_min_deg: Annotated[float, Limits(-90, 90)] = -90.0
    """Lowest viewpoint above the objects' horizon (model z up), degrees; -90 to 90: no limit."""

    elevation_max_deg: Annotated[float, Limits(-90, 90)] = 90.0
    """Highest viewpoint above the objects' horizon (model z up), degrees."""

    roll_deg: Annotated[float, Limits(0, 180)] = 180.0
    """Largest in-plane rotation when the elevation is limited, degrees."""

    views_share: Annotated[float, Limits(0, 1)] = 0.0
    """Share of floating instances seen from near the poses learned from, where there are any
    (`adapt --poses`); the others from anywhere."""

    views_deg: Annotated[float, Limits(0, 180)] = 30.0
    """How far from those poses they are turned at most, about any axis, degrees."""

    focal_jitter: Annotated[float, Limits(0, 0.9)] = 0.0
    """Random change of the focal lengths of each image, relative."""

    backgrounds: str = ""
    """Folder of photographs used behind the objects; empty: procedural pictures alone."""

    photo_share: Annotated[float, Limits(0, 1)] = 0.7
    """Share of backgrounds taken from the folder, if one is given."""

    background_pool: Annotated[int, Limits(0, 100_000)] = 256
    """How many procedural background pictures are painted once and then cropped at random."""

    material_jitter: Annotated[float, Limits(0, 10)] = 1.0
    """How far an instance's colours leave the CAD model's (tint, hue, tone, dirt); 0: none."""

    light_variety: Annotated[float, Limits(0, 10)] = 1.0
    """How far the light leaves a plain white one (direction, colour, highlights); 0: not at all."""

    shadows: bool = True
    """Soft contact shadows of the things on the plane."""

    camera_effects: Annotated[float, Limits(0, 10)] = 1.0
    """Strength of camera effects (exposure, noise, blur, JPEG, ...); 0: a perfect camera."""

    faces_max: Annotated[int, Limits(0)] = 0
    """Meshes are simplified to about this many triangles for rendering; 0: used as they are."""

    pbr: str = ""
    """A BOP dataset with truth (such as train_pbr) that is mixed in; empty: none."""

    pbr_share: Annotated[float, Limits(0, 1)] = 0.5
    """Share of batches taken from `pbr`, if it is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (
            ("instances_min", "instances_max"),
            ("distractors_min", "distractors_max"),
            ("apparent_min", "apparent_max"),
            ("elevation_min_deg", "elevation_max_deg"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise InputError(
                    f"synthesis.{low} is greater than synthesis.{high}", remedy="Swap them."
                )
        if 0 < self.distance_far_m < self.distance_near_m:
            raise InputError(
                "synthesis.distance_near_m is greater than synthesis.distance_far_m",
                remedy="Swap them.",
            )

    def for_instances(self, most: int) -> SynthesisConfig:
        """The same for a network that gives at most so many instances of an object in an image."""
        return self if most > 1 else replace(self, bins=0.0)

    @property
    def elevation_limited(self) -> bool:
        """Whether viewpoints are restricted, so that model z means up."""
        return self.elevation_min_deg > -90.0 or self.elevation_max_deg < 90.0

    def distances(self, camera: Camera, diameters: np.ndarray) -> tuple[float, float]:
        """Range of instance distances, metres.

        Args:
            camera: of the images made.
            diameters: (M,) metres, of the objects.
        """
        focal = math.sqrt(camera.K[0, 0] * camera.K[1, 1])
        unit = focal * float(np.median(diameters)) / min(camera.size)
        near = self.distance_near_m or unit / self.apparent_max
        far = self.distance_far_m or unit / self.apparent_min
        return near, max(far, near)


def default_camera(height: int = 480) -> Camera:
    """A common 4:3 camera (57 degrees wide), for when nothing is known of the user's."""
    width = round(height * 4 / 3)
    f = 1.2 * height
    return Camera(np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]), width, height)


def scaled_camera(camera: Camera | None, height: int) -> Camera:
    """The camera of the same view with images `height` pixels high."""
    if camera is None:
        return default_camera(height)
    if camera.height == height:
        return camera
    return camera.resized(round(camera.width * height / camera.height), height)
