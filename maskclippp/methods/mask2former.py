"""Mask2Former (Cheng et al. 2022): training of a mask generator, and its evaluation on its own vocabulary."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList
from torch import Tensor

from maskclippp.criteria import MaskTargets, SetCriterion
from maskclippp.data.vocabularies import comparable_names
from maskclippp.inference import object_scores, output_size, train_to_test_lookup
from maskclippp.mask_generators.head import MaskHead
from maskclippp.mask_generators.mask_decoder import MaskPredictions
from maskclippp.mask_generators.published import generator_weights
from maskclippp.structures import MaskPrediction, ParameterRule, PreparedVocabulary, ResampledMasks
from maskclippp.utils.errors import UserError
from maskclippp.utils.logging import WarnOnce
from maskclippp.utils.precision import full_precision
from maskclippp.visual_encoders.backbone_weights import PREFIX, backbone_entries

from .base import Method, Record, StepTargets
from .common import Names, check_targets, common_vocabulary, own_draws, train_names, without_masks

logger = logging.getLogger(__name__)

OBJECT: Names = (("object",),)
"""The vocabulary of a class-agnostic generator, SEM_SEG_HEAD.NUM_CLASSES 1: every mask is an object."""


@dataclass(frozen=True, kw_only=True)
class Mask2FormerVocabulary(PreparedVocabulary):
    """What depends on the test vocabulary.

    Attributes:
        lookup: (K' + 1,) long, where the train classes, and void, are in it.
    """

    lookup: Tensor


@META_ARCH_REGISTRY.register()
class Mask2Former(Method):
    """Trains backbone and head on masks with classes; in evaluation finds and labels masks by itself.

    Its checkpoints have the published names, ``backbone.*`` and ``sem_seg_head.*``, and are read by MaskCLIP++'s
    ``Mask2FormerSegmentor`` with ``D2Backbone`` or ``D2SwinTransformer``.

    Args:
        backbone: pixels -> features by name.
        head: with a linear classifier over the train classes.
        criterion: of the predictions of all layers.
        pixel_mean, pixel_std: per channel, in units of 0-255 pixel values.
        size_divisibility: pictures are padded with zeros to multiples of it; below 1: of what the backbone says.
        train_names: synonyms of the K train classes; of one class if the criterion has one: then whatever the
            annotations say is an object, and masks can be evaluated, but not classes.
        parameter_rules: how its parts train.
    """

    checkpoint_prefixes = ("backbone.", "sem_seg_head.")

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
        train_names: Names,
        parameter_rules: Sequence[ParameterRule] = (),
    ) -> None:
        super().__init__()
        if len(train_names) != criterion.num_classes:
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {criterion.num_classes}, but DATASETS.TRAIN[0] has "
                f"{len(train_names)} classes; make them equal, or set NUM_CLASSES 1 for masks without classes"
            )
        self.backbone = backbone
        self.sem_seg_head = head
        self.criterion = criterion
        self.size_divisibility = size_divisibility if size_divisibility > 0 else backbone.size_divisibility
        self.train_names = train_names
        self.parameter_rules = tuple(parameter_rules)
        self._warn_once = WarnOnce(logger)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read MODEL (backbone, SEM_SEG_HEAD, MASK_FORMER, PIXEL_*), DATASETS.TRAIN and SOLVER.BACKBONE_MULTIPLIER."""
        backbone, head = build_backbone(cfg), cfg.MODEL.SEM_SEG_HEAD
        encoded = head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES
        return {
            "backbone": backbone,
            "head": MaskHead(cfg, backbone.output_shape(), head.IN_FEATURES, encoded),
            "criterion": SetCriterion(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "size_divisibility": cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY,
            "train_names": OBJECT if head.NUM_CLASSES == 1 else train_names(cfg),
            "parameter_rules": (ParameterRule(PREFIX, cfg.SOLVER.BACKBONE_MULTIPLIER),),
        }

    @property
    def is_class_agnostic(self) -> bool:
        """Whether it only tells objects from what is none."""
        return self.criterion.num_classes == 1

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def random_parts(self, *, only_masks: bool) -> tuple[str, ...]:
        """The head."""
        return ("sem_seg_head.",)

    @property
    def finds_unused_parameters(self) -> bool:
        """Without losses of all layers, their heads have none."""
        return not self.criterion.deep_supervision

    def adapt_checkpoint(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring weights to the names of this model: those of Mask2Former's files, also old ones, or of a backbone."""
        if not any(key.startswith(self.checkpoint_prefixes) for key in weights):
            return {PREFIX + key: value for key, value in backbone_entries(weights).items()}
        backbone = {key: value for key, value in weights.items() if key.startswith(PREFIX)}
        return backbone | generator_weights(weights)

    def targets(self, records: Sequence[Record], step: int) -> StepTargets:
        """Count masks and queries."""
        check_targets(records)
        counts = [len(record["instances"]) for record in records]
        if not any(counts):
            self._warn_once("no masks", without_masks(records, "such a step teaches that there is nothing"))
        return StepTargets(self.criterion.divisors(counts, self.sem_seg_head.num_queries))

    def losses(self, records: Sequence[Record], targets: StepTargets, step: int) -> dict[str, Tensor]:
        """Losses of all predictions of the decoder; pictures of one padded size go through the model together."""
        groups: dict[tuple[int, int], list[Record]] = defaultdict(list)
        for record in records:
            groups[self._canvas_size(record["image"])].append(record)
        parts = [self._losses(canvas, members, targets.divisors) for canvas, members in groups.items()]
        return {name: sum(part[name] for part in parts) for name in parts[0]}

    def _losses(
        self, canvas: tuple[int, int], records: Sequence[Record], divisors: Mapping[str, float | Tensor]
    ) -> dict[str, Tensor]:
        predictions = self.predict(self._pixels([record["image"] for record in records]), intermediate=True)
        instances = [record["instances"].to(self.device) for record in records]
        labels = [each.gt_classes for each in instances]
        return self.criterion(
            torch.stack([each.class_logits for each in predictions]),
            torch.stack([each.mask_embeddings for each in predictions]),
            predictions[-1].mask_features,
            MaskTargets(
                labels=[torch.zeros_like(each) for each in labels] if self.is_class_agnostic else labels,
                masks=[each.gt_masks for each in instances],
                canvas=canvas,
                generators=own_draws(records, self.device),
            ),
            divisors,
        )

    def prepare(self, metadata: Any, *, only_masks: bool = False, spread: bool = False) -> Mask2FormerVocabulary:
        """Find the train classes in the test vocabulary: they go where a name is equal.

        Raises:
            UserError: the test vocabulary has none of the train classes, and classes are wanted.
        """
        common = common_vocabulary(metadata, self.train_names)
        if not only_masks and self.is_class_agnostic:
            raise UserError(
                "this model finds objects without classes (SEM_SEG_HEAD.NUM_CLASSES 1): evaluate its masks with "
                "MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY True, or use it as mask generator of MaskCLIPpp"
            )
        if not only_masks and not common["seen"].any():
            raise UserError(
                "no class of DATASETS.TEST is one that this closed-vocabulary model is trained on; test it on its own "
                "dataset, or use it as mask generator of MaskCLIPpp"
            )
        lookup = train_to_test_lookup(*comparable_names(self.train_names, common["names"]))
        return Mask2FormerVocabulary(**common, lookup=lookup)

    def infer(
        self, records: Sequence[Record], prepared: Mask2FormerVocabulary, *, only_masks: bool = False
    ) -> list[MaskPrediction]:
        """Find the masks of each picture, at the size of the original one; no picture sees another's padding.

        Logits are resized, and become probabilities afterwards, as in Mask2Former's own evaluation.
        """
        return [self._infer(record, prepared, only_masks) for record in records]

    def _infer(self, record: Record, prepared: Mask2FormerVocabulary, only_masks: bool) -> MaskPrediction:
        canvas = self._pixels([record["image"]])
        (found,) = self.predict(canvas)
        logits = ResampledMasks.of(found.mask_logits[0].float()).resize(tuple(canvas.shape[-2:]))
        soft = logits.crop(tuple(record["image"].shape[-2:])).resize(output_size(record)).dense().sigmoid_()
        found_classes = found.class_logits[0].float()
        if only_masks:
            return MaskPrediction(None, ResampledMasks.of(soft), object_scores=object_scores(found_classes))
        return MaskPrediction(to_test_logits(found_classes, prepared), ResampledMasks.of(soft))

    def predict(self, pixels: Tensor, intermediate: bool = False) -> list[MaskPredictions]:
        """(B, 3, H, W), normalised and padded -> predictions; see :class:`MaskHead`."""
        features = self.backbone(pixels)
        return self.sem_seg_head([features[name] for name in self.sem_seg_head.in_features], intermediate=intermediate)

    def _pixels(self, images: Sequence[Tensor]) -> Tensor:
        normed = [(full_precision(image.to(self.device)) - self.pixel_mean) / self.pixel_std for image in images]
        return ImageList.from_tensors(normed, self.size_divisibility).tensor

    def _canvas_size(self, image: Tensor) -> tuple[int, int]:
        step = max(self.size_divisibility, 1)
        return tuple(-(-side // step) * step for side in image.shape[-2:])


def to_test_logits(class_logits: Tensor, prepared: Mask2FormerVocabulary) -> Tensor:
    """Logits (Q, K' + 1) over the train classes and void -> over the test classes and void, (Q, K + 1).

    Probabilities of train classes that share a test class are added; what the test vocabulary lacks is void.
    """
    num_classes = len(prepared)
    if torch.equal(prepared.lookup, torch.arange(num_classes + 1)):
        return class_logits
    merged = class_logits.new_zeros(len(class_logits), num_classes + 1)
    return merged.index_add(1, prepared.lookup.to(class_logits.device), class_logits.softmax(dim=-1)).log()


# The published configs' name of the same architecture.
META_ARCH_REGISTRY._do_register("MaskFormer", Mask2Former)
