"""Generated masks into one JSON file, for :class:`maskclippp.mask_generators.offline.OfflineSegmentor` and others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskclippp.data.run_length import encode_rle
from maskclippp.utils.files import atomic_write

from .streaming import Scores, State, StreamingEvaluator


class MaskWriter(StreamingEvaluator):
    """Collects the masks of all images, run-length encoded (about 1 KB a mask), and writes them at the end.

    The file is ``{"images": [{"id", "file_name", "height", "width"}], "annotations": [{"image_id", "segmentation"}]}``,
    as :class:`maskclippp.data.mask_files.MaskTable` reads it. The id of an image is its file name.
    """

    def __init__(self, path: str | Path) -> None:
        """Take the path of the file."""
        self._path = Path(path)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._images: dict[str, dict[str, Any]] = {}

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Take the ``pred_masks``, (Q, H, W) bool, of some records."""
        for record, output in zip(inputs, outputs, strict=True):
            masks = output["pred_masks"].cpu().numpy()
            size = {"height": masks.shape[1], "width": masks.shape[2]}
            self._images[record["file_name"]] = size | {"masks": encode_rle(masks)}

    def state_dict(self) -> State:
        """All masks, by file name."""
        return {"images": self._images}

    def add_state(self, state: State) -> None:
        """Add the images of another process."""
        self._images |= state["images"]

    def score(self) -> Scores:
        """Write the file, images in the order of their names; say how many there are."""
        images, annotations = [], []
        for name, image in sorted(self._images.items()):
            images.append({"id": name, "file_name": name, "height": image["height"], "width": image["width"]})
            annotations += [{"image_id": name, "segmentation": rle} for rle in image["masks"]]
        with atomic_write(self._path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump({"images": images, "annotations": annotations}, file)
        return {"masks": {"images": float(len(images)), "masks": float(len(annotations))}}
