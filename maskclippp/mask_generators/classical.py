"""Masks from a classical segmentation: no network, no training."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import felzenszwalb


def felzenszwalb_labels(
    image: np.ndarray, *, scale: float = 150.0, sigma: float = 0.8, min_size: int = 30
) -> np.ndarray:
    """Cut a picture into regions of similar colour (Felzenszwalb & Huttenlocher 2004).

    Args:
        image: (H, W, 3) uint8 RGB.
        scale: larger means larger regions.
        sigma: width of the Gaussian blur before, in pixels.
        min_size: smallest region, in pixels.

    Returns:
        (H, W) int32 region numbers from 0.
    """
    return felzenszwalb(image, scale=scale, sigma=sigma, min_size=min_size).astype(np.int32)
