"""LVIS: average precision of instances with a federated ground truth, through the package ``lvis``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskclippp.data.instance_json import InstanceFile
from maskclippp.utils.errors import UserError, show

from .dataset import EvaluatedDataset
from .instance import InstanceEvaluator
from .instance_results import for_task
from .optional import earlier_numpy, require
from .registry import register_evaluator

LVIS_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
INSTALL = "pip install --no-deps lvis"
_PACKAGE = "LVIS evaluation"


@register_evaluator("lvis", task="instance")
class LVISEvaluator(InstanceEvaluator):
    """As :class:`InstanceEvaluator`, with the rare, common and frequent classes of LVIS apart (APr, APc, APf)."""

    def __init__(
        self,
        json_file: str | Path,
        class_ids: Mapping[int, int],
        class_names: Sequence[str],
        *,
        max_detections: int = 300,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts; see :class:`InstanceEvaluator`.

        Args:
            json_file: ground truth in LVIS' format.
            class_ids: {category id of the file: class id of the model}.
            class_names: class entry of each category, in ascending order of its class id of the model.
            max_detections: per image.
            output_dir: where results are written, if given.

        Raises:
            UserError: wrong file, or the package is not installed.
        """
        self._max_detections = max_detections
        super().__init__(json_file, class_ids, class_names, output_dir=output_dir)

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> LVISEvaluator:
        """Make that of a dataset with an LVIS file."""
        return cls(**dataset.instances())

    def _task_scores(self, results: list[dict[str, Any]], task: str) -> dict[str, float]:
        if not results:
            return self._nothing(LVIS_METRICS)
        lvis, lvis_eval = require("lvis", _PACKAGE, INSTALL), require("lvis.eval", _PACKAGE, INSTALL)
        logging.getLogger("lvis").setLevel(logging.ERROR)
        found = lvis.LVISResults(self._truth, for_task(results, task, self._numbers), max_dets=self._max_detections)
        evaluation = lvis.LVISEval(self._truth, found, task)
        with earlier_numpy(lvis_eval):
            evaluation.run()
        values = evaluation.get_results()
        scores = {name: self._percent(values[name]) for name in LVIS_METRICS}
        return scores | self._class_scores(evaluation.params.cat_ids, evaluation.eval["precision"][:, :, :, 0])

    def _make_truth(self, found: InstanceFile) -> Any:
        lvis = require("lvis", _PACKAGE, INSTALL)
        logging.getLogger("lvis").setLevel(logging.ERROR)
        self._check_federation(found)
        content = {"images": found.images, "annotations": found.annotations, "categories": found.categories}

        class Truth(lvis.LVIS):
            """Ground truth that was read before."""

            def _load_json(self, path: str) -> dict[str, Any]:
                return content

        return Truth(str(self._json_file))

    def _check_federation(self, found: InstanceFile) -> None:
        """Check what LVIS files have beyond COCO's.

        Raises:
            UserError: an image without its lists of negative and not exhaustive categories, or a category without its
                frequency.
        """
        known = {category["id"] for category in found.categories}
        for category in found.categories:
            if category.get("frequency") not in ("r", "c", "f"):
                frequency = f"its 'frequency' is {show(category.get('frequency'))}"
                raise UserError(f"{self._json_file}, category {category['id']}: {frequency}; expected 'r', 'c' or 'f'")
        for index, image in enumerate(found.images):
            for key in ("neg_category_ids", "not_exhaustive_category_ids"):
                ids = image.get(key)
                if not isinstance(ids, list) or not all(type(each) is int and each in known for each in ids):
                    raise UserError(
                        f"{self._json_file}, images[{index}]: its '{key}' is {show(ids)}; expected a list of "
                        "category ids, which LVIS evaluation needs"
                    )
