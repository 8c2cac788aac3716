"""Weakly distorted copies of training photos, which show the same values of every attribute."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DEGREES = 10.0
"""A copy is turned by up to this angle to either side,"""
SHIFT = 0.08
"""moved by up to this share of the width and of the height,"""
SCALE = (0.85, 1.2)
"""and resized by a factor between these two."""
COLOUR = 0.3
"""Brightness, contrast and saturation change by up to this share, each on its own."""


def distort(photo: Tensor, numbers: tuple[int, ...]) -> Tensor:
    """A photo, uint8 (3, S, S), turned, moved, resized and of other colours, by a little each.

    What comes in from outside the photo is white, as with fit "pad". The distortions are weak, so
    that a collar stays a collar; GeoDCL (Xiao and Yamasaki 2025) takes such copies as positives.

    Args:
        numbers: the seed: the same numbers give the same copy.
    """
    from torchvision.transforms.v2 import functional as transforms

    rng = np.random.default_rng(numbers)
    size = photo.shape[-1]
    photo = transforms.affine(
        photo,
        angle=rng.uniform(-DEGREES, DEGREES),
        translate=list(rng.uniform(-SHIFT * size, SHIFT * size, 2)),
        scale=rng.uniform(*SCALE),
        shear=[0.0, 0.0],
        interpolation=transforms.InterpolationMode.BILINEAR,
        fill=[255.0],
    )
    brighter, contrast, saturation = rng.uniform(1 - COLOUR, 1 + COLOUR, 3)
    photo = transforms.adjust_brightness(photo, brighter)
    photo = transforms.adjust_contrast(photo, contrast)
    return transforms.adjust_saturation(photo, saturation)


def distort_each(photos: Tensor, images: np.ndarray, mirrored: np.ndarray, k: np.ndarray) -> Tensor:
    """Photos (n, 3, S, S), each as its copy number k, (n,) > 0, or as it is where k is 0.

    The copy depends on the image's index, whether it was mirrored, and k alone.
    """
    copies = [
        distort(photo, (int(image), int(m), int(number))) if number else photo
        for photo, image, m, number in zip(photos, images, mirrored, k, strict=True)
    ]
    return torch.stack(copies)
