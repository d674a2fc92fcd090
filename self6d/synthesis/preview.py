"""Pictures of what the network is trained on."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from self6d.scene.batch import LabelledBatch

_COLOURS = np.array(
    [(230, 80, 60), (70, 170, 80), (70, 120, 230), (240, 190, 50), (170, 90, 200),
     (60, 190, 200), (240, 130, 40), (230, 110, 170), (150, 200, 70), (130, 130, 130)],
    np.uint8,
)  # fmt: skip


def gallery(
    batch: LabelledBatch, columns: int = 4, images: int = 16, overlay: bool = True
) -> np.ndarray:
    """A sheet of training images.

    Args:
        batch: on any device.
        columns: images in a row.
        images: at most so many.
        overlay: draw the visible masks' outlines and boxes, coloured by object.

    Returns:
        (rows * H, columns * W, 3) uint8, RGB.
    """
    count = min(images, len(batch.images))
    pictures = (batch.images[:count].clamp(0, 1) * 255).round().to(torch.uint8)
    sheet = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
    if overlay:
        chosen = (batch.image_index < count) & (batch.visible_fraction > 0)
        for i in chosen.nonzero()[:, 0].tolist():
            mask = batch.mask_visible(torch.tensor([i], device=batch.images.device))[0]
            colour = _COLOURS[int(batch.object_index[i]) % len(_COLOURS)].tolist()
            _outline(sheet[int(batch.image_index[i])], mask.cpu().numpy(), colour)
            box = batch.box_visible[i].round().int().tolist()
            cv2.rectangle(sheet[int(batch.image_index[i])], box[:2], box[2:], colour, 1)
    h, w = sheet.shape[1:3]
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, h, w, 3), np.uint8)
    padded[:count] = sheet
    grid = padded.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * h, columns * w, 3))


def _outline(picture: np.ndarray, mask: np.ndarray, colour: list[int]) -> None:
    """Tint a mask and draw its border, in place."""
    inside = mask.astype(bool)
    picture[inside] = (0.8 * picture[inside] + 0.2 * np.array(colour)).astype(np.uint8)
    border, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, border, -1, colour, 1)
