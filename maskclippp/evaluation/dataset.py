"""What an evaluator is made from: the metadata of a dataset, and what is wanted of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.catalog import Metadata

from maskclippp.data.datasets import ignore_label_of
from maskclippp.utils.errors import UserError


@dataclass(frozen=True)
class EvaluatedDataset:
    """A dataset to be evaluated.

    Attributes:
        metadata: of the dataset.
        output_folder: where results are written, if given.
        similarity: (K, K) of its classes, for similarity-aware scores; None: none are wanted.
        pictures: draw confusions, and so many of the worst images.
        save_predictions: write label maps and panoptic segments.
        partial: not all of its images are shown.
    """

    metadata: Metadata
    output_folder: str | None = None
    similarity: np.ndarray | None = None
    pictures: int = 0
    save_predictions: bool = False
    partial: bool = False

    @property
    def evaluator_type(self) -> str:
        """What it is, as far as evaluators go."""
        return str(self.metadata.get("evaluator_type", None))

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"dataset '{self.metadata.name}' (type '{self.evaluator_type}')"

    @property
    def class_names(self) -> list[str]:
        """K class entries."""
        return self.metadata.get("stuff_classes", None) or self.metadata.thing_classes

    @property
    def ignore_label(self) -> int | None:
        """Value of unlabelled pixels in label maps."""
        return ignore_label_of(self.metadata)

    @property
    def thing_map(self) -> dict[int, int]:
        """Contiguous ids of the things by their ids in files."""
        return self.metadata.get("thing_dataset_id_to_contiguous_id", {})

    @property
    def colors(self) -> list[tuple[int, int, int]] | None:
        """Of the K classes in label maps, if it has any."""
        return self.metadata.get("stuff_colors", None)

    @property
    def is_panoptic(self) -> bool:
        """Whether it has panoptic segments."""
        return self.metadata.get("panoptic_root", None) is not None

    def class_ids(self) -> dict[int, int]:
        """Return the ids in files by contiguous id: of all K classes, or of the stuff where things are apart."""
        return {index: number for number, index in self.metadata.stuff_dataset_id_to_contiguous_id.items()}

    def instances(self) -> dict[str, Any]:
        """Return the instance file, its class ids and names, and the output folder, as instance evaluators take them.

        Raises:
            UserError: there is no instance file.
        """
        json_file = self.metadata.get("json_file", None)
        if not json_file or not Path(json_file).is_file():
            found = f"no instance file {json_file}" if json_file else "it is registered without an instance file"
            raise UserError(
                f"dataset '{self.metadata.name}': {found}; instance evaluation needs one, "
                "or switch it off with MODEL.MASK_FORMER.TEST.INSTANCE_ON False"
            )
        names, things = self.metadata.thing_classes, sorted(self.thing_map.values())
        if len(names) != len(things):  # some datasets list every class there
            names = [names[index] for index in things]
        return {
            "json_file": json_file,
            "class_ids": dict(self.thing_map),
            "class_names": names,
            "output_dir": self.output_folder,
        }
