"""Boundaries of label maps, for Boundary IoU (Cheng et al. 2021) as detectron2 computes it on whole label maps."""

from __future__ import annotations

import cv2
import numpy as np

_DILATION_RATIO = 0.02


def label_boundary(labels: np.ndarray) -> np.ndarray:
    """Return labels minus their erosion: 0 inside regions, above 0 near the edges of regions with larger labels.

    Args:
        labels: (H, W), values 0..255.

    Returns:
        (H, W) uint8. The border band is 2 % of the image diagonal wide, at least one pixel; outside counts as label 0.
    """
    labels = labels.astype(np.uint8)
    height, width = labels.shape
    width_px = max(1, round(_DILATION_RATIO * float(np.hypot(height, width))))
    framed = cv2.copyMakeBorder(labels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(framed, np.ones((3, 3), dtype=np.uint8), iterations=width_px)[1:-1, 1:-1]
    return labels - eroded
