"""Simple lighting for synthetic images: ambient, directional diffuse and specular light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.errors import InputError

CREASE_COS = 0.766  # corners bent by more than 40 degrees keep the face's own normal


@dataclass
class Shading:
    """Blinn-Phong light per item, in the camera frame.

    rgb = clamp(albedo * (ambient + sum_l color_l max(n.l, 0)) + specular * sum_l color_l
    max(n.h, 0)^shininess), with h halfway between light and viewer. Normals are smooth over edges
    bent by less than about 40 degrees and face the camera (faces are lit from both sides). The
    product is taken on sRGB values. A shaded rgb carries no gradient; depth and mask still do.

    Attributes:
        ambient: (B, 3).
        directions: (B, L, 3), towards the light, camera frame, any non-zero length.
        colors: (B, L, 3), intensity of each light.
        specular: (B,), 0 for a matt surface.
        shininess: (B,), at least 1.
    """

    ambient: Tensor
    directions: Tensor
    colors: Tensor
    specular: Tensor
    shininess: Tensor

    def packed(self, batch: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(B, 5 + 6 L): ambient, specular, shininess, then unit direction and colour per light.

        Raises:
            InputError: if a shape does not fit `batch`.
        """
        lights = self.directions.shape[1] if self.directions.ndim == 3 else -1
        shapes = {
            "ambient": (self.ambient, (batch, 3)),
            "directions": (self.directions, (batch, lights, 3)),
            "colors": (self.colors, (batch, lights, 3)),
            "specular": (self.specular, (batch,)),
            "shininess": (self.shininess, (batch,)),
        }
        for name, (value, shape) in shapes.items():
            if tuple(value.shape) != shape:
                raise InputError(f"Shading.{name} has shape {tuple(value.shape)}, not {shape}")
        unit = torch.nn.functional.normalize(self.directions, dim=-1)
        head = torch.cat((self.ambient, self.specular[:, None], self.shininess[:, None]), 1)
        light = torch.cat((unit, self.colors), 2).flatten(1)
        return torch.cat((head, light), 1).detach().to(device, dtype).contiguous()
