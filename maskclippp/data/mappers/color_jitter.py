"""Colour jitter of SSD (Liu et al. 2016, section 2.2) as a detectron2 augmentation."""

from __future__ import annotations

import cv2
import numpy as np
from detectron2.data import transforms as T

_BRIGHTNESS = 32
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = 18  # of OpenCV's 180 steps


class SSDColorJitter(T.Augmentation):
    """Changes brightness, contrast, saturation and hue, each with probability one half.

    Brightness is first; contrast comes before or after saturation and hue with equal chance. Values are cut to 0..255
    after each change. Random numbers come from NumPy's global generator.
    """

    def __init__(self, image_format: str = "RGB") -> None:
        """Args: image_format: channel order of the pictures, "RGB" or "BGR"."""
        super().__init__()
        self._to_hsv, self._from_hsv = (
            (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB) if image_format == "RGB" else (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        )

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw the changes.

        Args:
            image: (H, W, 3) uint8; only passed because detectron2 asks for it.

        Returns:
            A transform that changes colours of uint8 pictures and leaves label maps alone.
        """
        beta = np.random.uniform(-_BRIGHTNESS, _BRIGHTNESS) if _coin() else 0.0
        contrast_first = _coin()
        contrast = np.random.uniform(*_CONTRAST) if _coin() else 1.0
        saturation = np.random.uniform(*_SATURATION) if _coin() else 1.0
        hue = int(np.random.randint(-_HUE, _HUE + 1)) if _coin() else 0

        def change(picture: np.ndarray) -> np.ndarray:
            picture = _linear(picture, beta=beta)
            if contrast_first:
                picture = _linear(picture, alpha=contrast)
            picture = self._change_hsv(picture, saturation, hue)
            return picture if contrast_first else _linear(picture, alpha=contrast)

        return T.ColorTransform(change)

    def _change_hsv(self, picture: np.ndarray, saturation: float, hue: int) -> np.ndarray:
        if saturation == 1.0 and hue == 0:
            return picture
        hsv = cv2.cvtColor(np.ascontiguousarray(picture), self._to_hsv)
        hsv[..., 0] = (hsv[..., 0].astype(np.int32) + hue) % 180
        hsv[..., 1] = _linear(hsv[..., 1], alpha=saturation)
        return cv2.cvtColor(hsv, self._from_hsv)


def _coin() -> bool:
    return bool(np.random.randint(2))


def _linear(values: np.ndarray, *, alpha: float = 1.0, beta: float = 0.0) -> np.ndarray:
    if alpha == 1.0 and beta == 0.0:
        return values
    return np.clip(values.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)
