"""Mask2Former (Cheng et al. 2022): training of a mask generator, and its evaluation on its own vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList
from torch import Tensor, nn

from ..criteria import MaskTargets, SetCriterion
from ..data.datasets.configured import test_metadata, train_metadata
from ..data.vocabularies import comparable_names, split_synonyms
from ..inference import train_to_test_lookup
from ..mask_generators.head import MaskHead
from ..mask_generators.mask_decoder import MaskPredictions
from ..mask_generators.published import generator_weights
from ..structures import ResampledMasks
from ..utils.errors import UserError
from ..utils.logging import WarnOnce
from ..visual_encoders.backbone_weights import PREFIX, backbone_entries
from .maskclippp import check_targets, class_entries, seen_in_training, without_masks
from .tasks import LabelledMasks, TaskInference, output_size

logger = logging.getLogger(__name__)


@META_ARCH_REGISTRY.register()
class Mask2Former(nn.Module):
    """Trains backbone and head on masks with classes; in evaluation finds and labels masks by itself.

    Its checkpoints have the published names, ``backbone.*`` and ``sem_seg_head.*``, and are read by MaskCLIP++'s
    ``Mask2FormerSegmentor`` with ``D2Backbone`` or ``D2SwinTransformer``.

    Args:
        backbone: pixels -> features by name.
        head: with a linear classifier over the train classes.
        criterion: of the predictions of all layers.
        pixel_mean, pixel_std: per channel, in units of 0-255 pixel values.
        size_divisibility: pictures are padded with zeros to multiples of it; below 1: of what the backbone says.
        train_classes: K class entries, synonyms separated by commas.
        tasks: what inference returns.
        test_metadata: detectron2 metadata of the test vocabulary.
    """

    checkpoint_prefixes = ("backbone.", "sem_seg_head.")
    random_parts = ("sem_seg_head.",)

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        head: MaskHead,
        criterion: SetCriterion,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        size_divisibility: int,
        train_classes: list[str],
        tasks: TaskInference,
        test_metadata: Any,
    ) -> None:
        super().__init__()
        if len(train_classes) != criterion.num_classes:
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {criterion.num_classes}, but DATASETS.TRAIN[0] has "
                f"{len(train_classes)} classes; make them equal"
            )
        self.backbone = backbone
        self.sem_seg_head = head
        self.criterion = criterion
        self.size_divisibility = size_divisibility if size_divisibility > 0 else backbone.size_divisibility
        self.train_classes = list(train_classes)
        self.tasks = tasks
        self._warn_once = WarnOnce(logger)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.set_metadata(test_metadata)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read MODEL (backbone, SEM_SEG_HEAD, MASK_FORMER, PIXEL_*), DATASETS and the task switches."""
        backbone, head = build_backbone(cfg), cfg.MODEL.SEM_SEG_HEAD
        encoded = head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES
        return {
            "backbone": backbone,
            "head": MaskHead(cfg, backbone.output_shape(), head.IN_FEATURES, encoded),
            "criterion": SetCriterion(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "size_divisibility": cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY,
            "train_classes": class_entries(train_metadata(cfg)),
            "tasks": TaskInference.from_config(cfg),
            "test_metadata": test_metadata(cfg),
        }

    def set_metadata(self, metadata: Any) -> None:
        """Evaluate on the stuff_classes, else thing_classes, of ``metadata``; train classes go where a name is equal.

        Raises:
            UserError: the test vocabulary has none of the train classes.
        """
        entries = class_entries(metadata)
        seen = seen_in_training(metadata, self.train_classes)
        if not any(seen):
            raise UserError(
                "no class of DATASETS.TEST is one that this closed-vocabulary model is trained on; test it on its own "
                "dataset, or use it as mask generator of MaskCLIPpp"
            )
        names, train_names = ([split_synonyms(each) for each in some] for some in (entries, self.train_classes))
        self.lookup = train_to_test_lookup(*comparable_names(train_names, names))
        self.seen = torch.tensor(seen, dtype=torch.bool)
        self.test_metadata = metadata

    def prepare_inference(self) -> None:
        """Nothing is to be made beforehand."""

    def return_label_maps(self) -> None:
        """Let inference return "sem_seg_labels" instead of the scores of all classes, "sem_seg"."""
        self.tasks = replace(self.tasks, label_maps=True)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def adapt_checkpoint(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring weights to the names of this model: those of Mask2Former's files, also old ones, or of a backbone."""
        if not any(key.startswith(self.checkpoint_prefixes) for key in weights):
            return {PREFIX + key: value for key, value in backbone_entries(weights).items()}
        backbone = {key: value for key, value in weights.items() if key.startswith(PREFIX)}
        return backbone | generator_weights(weights)

    def forward(self, records: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Training: named losses. Evaluation: one dict of results per record, see :class:`TaskInference`.

        Args:
            records: detectron2 dicts; in training with "instances" (gt_masks (G, H, W) bool, gt_classes).
        """
        if self.training:
            return self.losses(records)
        labelled = self.label_masks(records)
        if self.tasks.segmentor_only:
            return self.tasks.generated(records, [masks for _, masks in labelled])
        return self.tasks(records, labelled, self.seen.to(self.device), self.test_metadata)

    def losses(self, records: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of all predictions of the decoder; pictures of other sizes are padded to those of their batch."""
        check_targets(records)
        batch = ImageList.from_tensors([self._normalise(each["image"]) for each in records], self.size_divisibility)
        predictions = self.predict(batch.tensor, intermediate=True)
        targets = [record["instances"].to(self.device) for record in records]
        if not any(len(target) for target in targets):
            self._warn_once("no masks", without_masks(records, "such a step teaches that there is nothing"))
        return self.criterion(
            torch.stack([each.class_logits for each in predictions]),
            torch.stack([each.mask_embeddings for each in predictions]),
            predictions[-1].mask_features,
            MaskTargets(
                labels=[target.gt_classes for target in targets],
                masks=[target.gt_masks for target in targets],
                canvas=tuple(batch.tensor.shape[-2:]),
            ),
        )

    def label_masks(self, records: list[dict[str, Any]]) -> list[LabelledMasks]:
        """Find the masks of each picture, at the size of the original one; no picture sees another's padding.

        Logits are resized, and become probabilities afterwards, as in Mask2Former's own evaluation.
        """
        return [self._label(record) for record in records]

    def _label(self, record: dict[str, Any]) -> LabelledMasks:
        image = self._normalise(record["image"])
        canvas = ImageList.from_tensors([image], self.size_divisibility).tensor
        (found,) = self.predict(canvas)
        logits = ResampledMasks.of(found.mask_logits[0].float()).resize(tuple(canvas.shape[-2:]))
        soft = logits.crop(tuple(image.shape[-2:])).resize(output_size(record)).dense().sigmoid_()
        return self.test_logits(found.class_logits[0].float()), ResampledMasks.of(soft)

    def predict(self, pixels: Tensor, intermediate: bool = False) -> list[MaskPredictions]:
        """(B, 3, H, W), normalised and padded -> predictions; see :class:`MaskHead`."""
        features = self.backbone(pixels)
        return self.sem_seg_head([features[name] for name in self.sem_seg_head.in_features], intermediate=intermediate)

    def test_logits(self, class_logits: Tensor) -> Tensor:
        """Logits (Q, K' + 1) over the train classes and void -> over the test classes and void, (Q, K + 1).

        Probabilities of train classes that share a test class are added; what the test vocabulary lacks is void.
        """
        num_classes = len(self.seen)
        if torch.equal(self.lookup, torch.arange(num_classes + 1)):
            return class_logits
        merged = class_logits.new_zeros(len(class_logits), num_classes + 1)
        return merged.index_add(1, self.lookup.to(self.device), class_logits.softmax(dim=-1)).log()

    def _normalise(self, image: Tensor) -> Tensor:
        return (image.to(self.device).float() - self.pixel_mean) / self.pixel_std


# The published configs' name of the same architecture.
META_ARCH_REGISTRY._do_register("MaskFormer", Mask2Former)
