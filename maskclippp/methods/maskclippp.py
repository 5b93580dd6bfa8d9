"""MaskCLIP++: a mask-based CLIP fine-tuning framework for open-vocabulary segmentation (Zeng et al. 2024)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from maskclippp.criteria import build_criterion
from maskclippp.data.vocabularies import comparable_names, same_to_encoder, seen_ignoring_case
from maskclippp.data.vocabularies.templates import get_templates
from maskclippp.inference import combine_logits, object_scores, train_to_test_lookup
from maskclippp.mask_generators import GeneratorInput, MaskGenerator, build_mask_generator
from maskclippp.similarity import SimilarityContext, build_psm, cosine_similarity, max_over_synonyms
from maskclippp.structures import (
    ClosedClasses,
    MaskPrediction,
    MaskSet,
    ParameterRule,
    PreparedVocabulary,
    TextBank,
    VisualOutput,
)
from maskclippp.text_encoders import EmbeddingCache, TextClassifier, TextEncoder, build_text_encoder, default_cache
from maskclippp.utils.errors import UserError
from maskclippp.utils.logging import WarnOnce, log_once
from maskclippp.visual_encoders import VisualEncoder, build_visual_encoder

from .base import Method, Record, StepTargets
from .common import (
    Names,
    check_targets,
    common_vocabulary,
    dataset_name,
    no_loss,
    rules_of_encoders,
    train_names,
    without_masks,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MaskCLIPppVocabulary(PreparedVocabulary):
    """What depends on the test vocabulary.

    Attributes:
        generator_bank: the names as the generator reads them, (Ka, 1, D); None if it reads none.
        lookup: (K' + 1,) long, where the fixed classes of the generator are in the vocabulary; None if they do not
            count there.
        ensemble_seen: (K,) bool, classes that the generator has been trained on.
    """

    generator_bank: TextBank | None = None
    lookup: Tensor | None = None
    ensemble_seen: Tensor


@dataclass(frozen=True)
class _Targets:
    """Ground-truth masks of each picture, the areas that they have on the patch grid, and the drawn synonyms."""

    instances: Sequence[Instances]
    drawn: Tensor


@META_ARCH_REGISTRY.register()
class MaskCLIPpp(Method):
    """Trains CLIP on ground-truth masks; in evaluation labels the masks of any generator.

    Args:
        visual_encoder: tuned; gives mask embeddings.
        visual_encoder_f: frozen; feeds the generator. None: the generator needs only the pictures.
        text_encoder: gives the text bank.
        text_encoder_f: frozen; gives the text of a generator that classifies by text. None: it does not.
        generator: masks for inference.
        psm: similarities (N, Ka, T) -> (N, Ka).
        criterion: see :mod:`maskclippp.criteria`.
        use_logit_scale: multiply similarities by CLIP's logit scale.
        templates: T sentences with ``{}``.
        templates_f: the same for ``text_encoder_f``, averaged.
        ensemble: alpha and beta of the ensemble with the generator's classifier; None: its classes do not count.
        text_chunk_size: sentences that go through the text encoder at once.
        train_names: synonyms of the K train classes.
        text_cache: where the embeddings of a frozen text encoder are kept on disk; None: nowhere.
        parameter_rules: how its parts train.
    """

    @configurable
    def __init__(
        self,
        *,
        visual_encoder: VisualEncoder,
        visual_encoder_f: VisualEncoder | None,
        text_encoder: TextEncoder,
        generator: MaskGenerator,
        psm: nn.Module,
        criterion: nn.Module,
        use_logit_scale: bool,
        templates: list[str],
        text_chunk_size: int,
        train_names: Names,
        text_encoder_f: TextEncoder | None = None,
        templates_f: Sequence[str] = (),
        ensemble: tuple[float, float] | None = None,
        text_cache: EmbeddingCache | None = None,
        parameter_rules: Sequence[ParameterRule] = (),
    ) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder
        self.visual_encoder_f = visual_encoder_f
        self.text_encoder = text_encoder
        self.text_encoder_f = text_encoder_f
        self.segmentor = generator
        self.psm = psm
        self.criterion = criterion
        self.use_logit_scale = use_logit_scale
        self.text_classifier = TextClassifier(text_encoder, templates, text_chunk_size, text_cache)
        self.text_classifier_f = None
        if text_encoder_f is not None:
            self.text_classifier_f = TextClassifier(
                text_encoder_f, templates_f, text_chunk_size, text_cache, averaged=True
            )
        self.ensemble = ensemble
        self.parameter_rules = tuple(parameter_rules)
        self.train_names = train_names
        self._warn_once = WarnOnce(logger)
        self._tell_same_names("DATASETS.TRAIN[0]", train_names)
        self.register_load_state_dict_post_hook(lambda model, _: model.text_classifier.clear())

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read MODEL.MASKCLIPPP, DATASETS.TRAIN and the multipliers of SOLVER."""
        node, solver = cfg.MODEL.MASKCLIPPP, cfg.SOLVER
        templates = get_templates(node.TEMPLATES)
        test = node.TEST
        visual_encoder = build_visual_encoder(node.VISUAL_ENCODER, cfg)
        visual_encoder_f = build_visual_encoder(node.VISUAL_ENCODER_F, cfg)
        return {
            "visual_encoder": visual_encoder,
            "visual_encoder_f": visual_encoder_f,
            "text_encoder": build_text_encoder(node.TEXT_ENCODER),
            "text_encoder_f": build_text_encoder(node.TEXT_ENCODER_F),
            "generator": build_mask_generator(cfg, visual_encoder_f.output_shape() if visual_encoder_f else {}),
            "psm": build_psm(node, len(templates), visual_encoder.output_shape()),
            "criterion": build_criterion(node.CRITERION),
            "use_logit_scale": node.USE_LOGIT_SCALE,
            "templates": templates,
            "templates_f": get_templates(node.TEMPLATES_F),
            "ensemble": (test.GEOMETRIC_ENSEMBLE_ALPHA, test.GEOMETRIC_ENSEMBLE_BETA) if test.ENSEMBLE_ON else None,
            "text_chunk_size": node.TEXT_CHUNK_SIZE,
            "train_names": train_names(cfg),
            "text_cache": default_cache(),
            "parameter_rules": rules_of_encoders(solver.VISUAL_ENCODER_MULTIPLIER, solver.TEXT_ENCODER_MULTIPLIER),
        }

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.text_encoder.logit_scale.device

    @property
    def checkpoint_prefixes(self) -> tuple[str, ...]:
        """Beginnings of the state-dict names that a checkpoint keeps: the tuned parts."""
        prefixes = ("visual_encoder.", "psm.", "criterion.")
        return (*prefixes, "text_encoder.") if self.text_encoder.tuned else prefixes

    def random_parts(self, *, only_masks: bool) -> tuple[str, ...]:
        """The head."""
        return () if only_masks else ("psm.",)

    @property
    def finds_unused_parameters(self) -> bool:
        """Towers that train as a whole have parameters that no mask embedding depends on."""
        trains_scale = self.text_encoder.logit_scale.requires_grad and not self.use_logit_scale
        return trains_scale or "all" in (self.visual_encoder.finetune_type, self.text_encoder.finetune_type)

    def train(self, mode: bool = True) -> MaskCLIPpp:
        """Switch mode; embeddings of a tuned text encoder are forgotten when training resumes."""
        if mode and self.text_encoder.tuned:
            self.text_classifier.clear()
        return super().train(mode)

    def targets(self, records: Sequence[Record], step: int) -> StepTargets:
        """Draw a synonym of each class, and count the images that have a mask with a loss."""
        check_targets(records)
        if len(self.train_names) == 1:
            told = f"one train class, '{self.train_names[0][0]}': a softmax over one class is 1, so the loss is 0 and "
            self._warn_once("one class", f"{told}nothing is trained; name another class, such as 'background'")
        drawn = self.text_classifier.draw(self.train_names)
        instances = [record["instances"].to(self.device) for record in records]
        if not any(len(each) for each in instances):
            self._warn_once("no masks", without_masks(records, "such a step changes nothing"))
        areas = self.visual_encoder.mask_areas(self._images(records), [each.gt_masks for each in instances])
        return StepTargets({"images": self.criterion.count_images(areas)}, _Targets(instances, drawn))

    def losses(self, records: Sequence[Record], targets: StepTargets, step: int) -> dict[str, Tensor]:
        """Losses of classifying all ground-truth masks."""
        instances = targets.data.instances
        if not any(len(each) for each in instances):
            return {"loss_ce": no_loss([each for each in self.parameters() if each.requires_grad])}
        output = self.visual_encoder(self._images(records), [each.gt_masks for each in instances])
        bank = self.text_classifier.sample(self.train_names, targets.data.drawn)
        labels = torch.cat([each.gt_classes for each in instances])
        image_index = mask_image_index(output).to(self.device)
        logits = self.name_logits(output, bank)
        return self.criterion(logits, labels, image_index, torch.cat(output.areas), targets.divisors["images"])

    def prepare(self, metadata: Any, *, only_masks: bool = False, spread: bool = False) -> MaskCLIPppVocabulary:
        """Make the text banks, and find the classes of the generator in the vocabulary.

        Raises:
            UserError: the generator's classifier, which has fixed classes, is to be ensembled and shares none of them.
        """
        common = common_vocabulary(metadata, self.train_names)
        names, classes = common["names"], self.segmentor.classes
        self._tell_same_names(dataset_name(metadata), names)
        # In the ensemble a class is seen if the generator has been trained on it; it may say what these are.
        ensemble_seen = common["seen"]
        if isinstance(classes, ClosedClasses) and classes.names is not None:
            entries = ([",".join(each) for each in some] for some in (names, classes.names))
            ensemble_seen = torch.tensor(seen_ignoring_case(*entries), dtype=torch.bool)
        needs_text = self.text_classifier_f is not None and self.segmentor.needs_text
        return MaskCLIPppVocabulary(
            **common,
            bank=None if only_masks else self.text_classifier.bank(names, spread=spread),
            generator_bank=self.text_classifier_f.bank(names, spread=spread) if needs_text else None,
            lookup=self._generator_lookup(names, dataset_name(metadata)),
            ensemble_seen=ensemble_seen,
        )

    def _generator_lookup(self, names: Names, dataset: str) -> Tensor | None:
        """Where the fixed classes of the generator are in the test vocabulary; None if they do not count there."""
        classes = self.segmentor.classes
        if self.ensemble is None or not isinstance(classes, ClosedClasses):
            return None
        if classes.names is None and classes.count != len(self.train_names):
            raise UserError(
                f"the generator {type(self.segmentor).__name__} knows {classes.count} classes, but "
                f"DATASETS.TRAIN[0] has {len(self.train_names)}; set DATASETS.TRAIN to the set it was trained on, or "
                "MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False"
            )
        lookup = train_to_test_lookup(*comparable_names(classes.names or self.train_names, names))
        if bool((lookup == len(names)).all()):
            raise UserError(
                f"no class of {dataset} is one that the generator knows, so there is nothing to ensemble; set "
                "MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False"
            )
        return lookup

    def infer(
        self, records: Sequence[Record], prepared: MaskCLIPppVocabulary, *, only_masks: bool = False
    ) -> list[MaskPrediction]:
        """Find masks and label them, with void if the generator knows it."""
        proposals, rules = self.propose(records, prepared), self.segmentor.rules
        if only_masks:
            sure = [None] * len(records) if proposals.logits is None else map(object_scores, proposals.logits)
            pairs = zip(proposals.masks, sure, strict=True)
            return [MaskPrediction(None, masks, rules, scores) for masks, scores in pairs]
        output = self.visual_encoder(self._images(records), proposals.masks)
        bank = prepared.bank
        logits = max_over_synonyms(self.name_logits(output, bank), bank.class_index, bank.num_classes)
        per_image = logits.split([len(masks) for masks in proposals.masks])
        if proposals.logits is not None:
            seen = prepared.ensemble_seen.to(self.device)
            per_image = [
                combine_logits(ours, theirs.float(), seen, ensemble=self.ensemble, lookup=prepared.lookup)
                for ours, theirs in zip(per_image, proposals.logits, strict=True)
            ]
        pairs = zip(per_image, proposals.masks, strict=True)
        return [MaskPrediction(logits, masks, rules) for logits, masks in pairs]

    def propose(self, records: Sequence[Record], prepared: MaskCLIPppVocabulary) -> MaskSet:
        """Run the generator on the features of the frozen encoder."""
        images = self._images(records)
        if self.visual_encoder_f is None:
            sizes, features = [tuple(image.shape[-2:]) for image in images], {}
        else:
            transform = self.visual_encoder_f.transform
            sizes = [transform.target_size(*image.shape[-2:]) for image in images]
            features = self.visual_encoder_f(images).features
        return self.segmentor(
            GeneratorInput(
                records=[record | {"image": image} for record, image in zip(records, images, strict=True)],
                sizes=sizes,
                features=features,
                text=prepared.generator_bank,
                ignore_label=prepared.ignore_label,
            )
        )

    def name_logits(self, output: VisualOutput, bank: TextBank) -> Tensor:
        """Logits of all masks of the batch for every name, (N, Ka)."""
        context = SimilarityContext(
            mask_embeddings=torch.cat(output.mask_embeddings),
            text_embeddings=bank.embeddings,
            image_index=mask_image_index(output),
            features=output.features,
            logit_scale=self.text_encoder.logit_scale if self.use_logit_scale else None,
        )
        similarity = cosine_similarity(context.mask_embeddings, context.text_embeddings, context.logit_scale)
        return self.psm(similarity, context)

    def _images(self, records: Sequence[Record]) -> list[Tensor]:
        return [record["image"].to(self.device) for record in records]

    def _tell_same_names(self, dataset: str, names: Names) -> None:
        """Warn of classes whose names are the same to the text encoder."""
        same = same_to_encoder(names, self.text_encoder.tokenize, self.text_classifier.templates)
        for line in same.lines():
            log_once(logger, logging.WARNING, f"{dataset}: {line}")


def mask_image_index(output: VisualOutput) -> Tensor:
    """Return the image of each mask of the batch, (N,) long."""
    counts = torch.tensor([len(masks) for masks in output.mask_embeddings])
    return torch.arange(len(counts)).repeat_interleave(counts)
