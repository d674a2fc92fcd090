"""Translation as the network puts it out: relative to a region (SITE), or as projected centroid.

Both are invertible functions of (t, region, K); the network learns the encoded form. Its t is the
position of the middle of the model's box, so that it matters nowhere where a CAD file has its
origin, which may lie far from the mesh and behind the camera.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _centroid_in_region(t: Tensor, region: Tensor, K: Tensor) -> Tensor:
    """Offset of the projected origin from the region's centre, in region sides -> (N, 2)."""
    projected = (K @ t[:, :, None])[..., 0]
    pixel = projected[:, :2] / projected[:, 2:]
    return (pixel - (region[:, :2] + region[:, 2:]) / 2) / (region[:, 2:] - region[:, :2])


def _translation(offset: Tensor, z: Tensor, region: Tensor, K: Tensor) -> Tensor:
    """Back-project a centroid given relative to the region at distance z -> (N, 3)."""
    sides = region[:, 2:] - region[:, :2]
    pixel = (region[:, :2] + region[:, 2:]) / 2 + offset * sides
    y = (pixel[:, 1] - K[:, 1, 2]) / K[:, 1, 1]
    x = (pixel[:, 0] - K[:, 0, 2] - K[:, 0, 1] * y) / K[:, 0, 0]
    return torch.stack((x, y, torch.ones_like(x)), dim=-1) * z[:, None]


def position_of(R: Tensor, t: Tensor, centre: Tensor) -> Tensor:
    """Where a point of the model is, R c + t.

    Args:
        R: (..., 3, 3). t: (..., 3), metres, of the model's origin. centre: (..., 3), metres, model
            frame.

    Returns:
        (..., 3), metres, camera frame.
    """
    return t + (R @ centre[..., None])[..., 0]


def origin_of(R: Tensor, position: Tensor, centre: Tensor) -> Tensor:
    """Inverse of `position_of`: t (..., 3), metres."""
    return position - (R @ centre[..., None])[..., 0]


def region_angle(region: Tensor, K: Tensor) -> Tensor:
    """Longer side of regions in viewing-ray space, sides divided by focal lengths -> (N,)."""
    focal = torch.stack((K[:, 0, 0], K[:, 1, 1]), dim=-1)
    return ((region[:, 2:] - region[:, :2]) / focal).amax(-1)


def encode_site(t: Tensor, region: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """Scale-invariant translation (CDPN, GDR-Net), here free of the focal lengths as well.

    (dx, dy) is the projected origin relative to the region's centre in region sides, and
    dz = log(z a / d), with a the region's side in viewing-ray space and d the object's diameter:
    a z is the region's side in metres at the object's distance. Resampling the image, cropping it
    or changing K (fx != fy included) together with the region changes none of the three.

    Args:
        t: (N, 3), metres, z > 0. region: (N, 4), pixels. K: (N, 3, 3), pixels.
        diameter: (N,), metres.

    Returns:
        (N, 3), no unit.
    """
    offset = _centroid_in_region(t, region, K)
    dz = (t[:, 2] * region_angle(region, K) / diameter).log()
    return torch.cat((offset, dz[:, None]), dim=-1)


def decode_site(site: Tensor, region: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """Inverse of `encode_site` -> (N, 3), metres."""
    z = site[:, 2].exp() * diameter / region_angle(region, K)
    return _translation(site[:, :2], z, region, K)


def encode_centroid(t: Tensor, region: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """Self6D's (cx, cy, z): projected origin relative to the region, log of z in metres.

    The distance is absolute, so it is only valid for the camera trained for.
    Arguments and shapes as `encode_site`; the diameter is not used.
    """
    return torch.cat((_centroid_in_region(t, region, K), t[:, 2:].log()), dim=-1)


def decode_centroid(code: Tensor, region: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """Inverse of `encode_centroid` -> (N, 3), metres."""
    return _translation(code[:, :2], code[:, 2].exp(), region, K)


ENCODE = {"site": encode_site, "centroid": encode_centroid}
DECODE = {"site": decode_site, "centroid": decode_centroid}
