"""MaskCLIP++: a mask-based CLIP fine-tuning framework for open-vocabulary segmentation (Zeng et al. 2024)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from ..criteria import build_criterion
from ..data.datasets.configured import test_metadata, train_metadata
from ..data.vocabularies import comparable_names, same_to_encoder, seen_ignoring_case, spelling_notes, split_synonyms
from ..data.vocabularies.templates import get_templates
from ..inference import combine_logits, train_to_test_lookup
from ..mask_generators import MaskGenerator, build_mask_generator
from ..similarity import SimilarityContext, build_psm, cosine_similarity, max_over_synonyms
from ..structures import MaskSet, TextBank, VisualOutput
from ..text_encoders import (
    EmbeddingCache,
    TextClassifier,
    TextEncoder,
    build_text_encoder,
    default_cache,
)
from ..utils.errors import UserError
from ..utils.logging import WarnOnce, log_once
from ..visual_encoders import VisualEncoder, build_visual_encoder
from .tasks import LabelledMasks, TaskInference

logger = logging.getLogger(__name__)


@META_ARCH_REGISTRY.register()
class MaskCLIPpp(nn.Module):
    """Trains CLIP on ground-truth masks; in evaluation labels the masks of any generator.

    Args:
        visual_encoder: tuned; gives mask embeddings.
        visual_encoder_f: frozen; feeds the generator. None: the generator needs only the pictures.
        text_encoder: gives the text bank.
        text_encoder_f: frozen; gives the text of a generator that classifies by text. None: it does not.
        generator: masks for inference; None for training only.
        psm: similarities (N, Ka, T) -> (N, Ka).
        criterion: see :mod:`maskclippp.criteria`.
        use_logit_scale: multiply similarities by CLIP's logit scale.
        templates: T sentences with ``{}``.
        templates_f: the same for ``text_encoder_f``, averaged.
        ensemble: alpha and beta of the ensemble with the generator's classifier; None: its classes do not count.
        text_chunk_size: sentences that go through the text encoder at once.
        train_classes: K class entries, synonyms separated by commas.
        tasks: what inference returns.
        test_metadata: detectron2 metadata of the test vocabulary.
        text_cache: where the embeddings of a frozen text encoder are kept on disk; None: nowhere.
    """

    @configurable
    def __init__(
        self,
        *,
        visual_encoder: VisualEncoder,
        visual_encoder_f: VisualEncoder | None,
        text_encoder: TextEncoder,
        generator: MaskGenerator | None,
        psm: nn.Module,
        criterion: nn.Module,
        use_logit_scale: bool,
        templates: list[str],
        text_chunk_size: int,
        train_classes: list[str],
        tasks: TaskInference,
        test_metadata: Any,
        text_encoder_f: TextEncoder | None = None,
        templates_f: Sequence[str] = (),
        ensemble: tuple[float, float] | None = None,
        text_cache: EmbeddingCache | None = None,
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
        self.train_classes = list(train_classes)
        self.train_names = [split_synonyms(entry) for entry in train_classes]
        self.tasks = tasks
        self._warn_once = WarnOnce(logger)
        self._tell_same_names("DATASETS.TRAIN[0]", self.train_names)
        self.set_metadata(test_metadata)
        self.register_load_state_dict_post_hook(lambda model, _: model.text_classifier.clear())

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read MODEL.MASKCLIPPP, DATASETS and the task switches."""
        node = cfg.MODEL.MASKCLIPPP
        templates = get_templates(node.TEMPLATES)
        test = node.TEST
        visual_encoder = build_visual_encoder(node.VISUAL_ENCODER, cfg)
        visual_encoder_f = build_visual_encoder(node.VISUAL_ENCODER_F, cfg)
        # In this order, on which random starts depend.
        text_encoder, text_encoder_f = build_text_encoder(node.TEXT_ENCODER), build_text_encoder(node.TEXT_ENCODER_F)
        generator = build_mask_generator(cfg, visual_encoder_f.output_shape() if visual_encoder_f else {})
        return {
            "visual_encoder": visual_encoder,
            "visual_encoder_f": visual_encoder_f,
            "text_encoder": text_encoder,
            "text_encoder_f": text_encoder_f,
            "generator": generator,
            "psm": build_psm(node, len(templates), visual_encoder.output_shape()),
            "criterion": build_criterion(node.CRITERION),
            "use_logit_scale": node.USE_LOGIT_SCALE,
            "templates": templates,
            "templates_f": get_templates(node.TEMPLATES_F),
            "ensemble": (test.GEOMETRIC_ENSEMBLE_ALPHA, test.GEOMETRIC_ENSEMBLE_BETA) if test.ENSEMBLE_ON else None,
            "text_chunk_size": node.TEXT_CHUNK_SIZE,
            "train_classes": class_entries(train_metadata(cfg)),
            "tasks": TaskInference.from_config(cfg, generator.rules if generator else None),
            "test_metadata": test_metadata(cfg),
            "text_cache": default_cache(),
        }

    def set_metadata(self, metadata: Any) -> None:
        """Change the test vocabulary to the stuff_classes, else thing_classes, of ``metadata``.

        Raises:
            UserError: the generator's classifier, which has fixed classes, is to be ensembled and shares none of them.
        """
        self.test_metadata = metadata
        if self.segmentor is not None:
            self.segmentor.set_metadata(metadata)
        entries = class_entries(metadata)
        self.test_names = [split_synonyms(entry) for entry in entries]
        self._tell_same_names(dataset_name(metadata), self.test_names)
        self.seen = torch.tensor(seen_in_training(metadata, self.train_classes), dtype=torch.bool)
        self.lookup = self._generator_lookup()
        # In the ensemble a class is seen if the generator has been trained on it; it may say what these are.
        own_names = None if self.segmentor is None else self.segmentor.class_names
        self.ensemble_seen = self.seen
        if own_names is not None:
            self.ensemble_seen = torch.tensor(seen_ignoring_case(entries, own_names), dtype=torch.bool)

    def _tell_same_names(self, dataset: str, names: list[list[str]]) -> None:
        """Warn of classes whose names are the same to the text encoder."""
        same = same_to_encoder(names, self.text_encoder.tokenize, self.text_classifier.templates)
        for line in same.lines():
            log_once(logger, logging.WARNING, f"{dataset}: {line}")

    def _generator_lookup(self) -> Tensor | None:
        """Where the fixed classes of the generator are in the test vocabulary; None if they do not count there."""
        if self.ensemble is None or self.segmentor is None or not self.segmentor.classes_are_fixed:
            return None
        generator_names = self.train_names
        if self.segmentor.class_names is not None:
            generator_names = [split_synonyms(entry) for entry in self.segmentor.class_names]
        elif self.segmentor.num_classes != len(self.train_names):
            raise UserError(
                f"the generator {type(self.segmentor).__name__} knows {self.segmentor.num_classes} classes, but "
                f"DATASETS.TRAIN[0] has {len(self.train_names)}; set DATASETS.TRAIN to the set it was trained on, or "
                "MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False"
            )
        lookup = train_to_test_lookup(*comparable_names(generator_names, self.test_names))
        if bool((lookup == len(self.test_names)).all()):
            raise UserError(
                f"no class of {dataset_name(self.test_metadata)} is one that the generator "
                "knows, so there is nothing to ensemble; set MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False"
            )
        return lookup

    def prepare_inference(self) -> None:
        """Make the text banks of the test vocabulary; ranks share the work, so all must call this."""
        if not self.tasks.segmentor_only:
            self.text_classifier.bank(self.test_names, spread=True)
        self.generator_text(spread=True)

    def generator_text(self, *, spread: bool = False) -> TextBank | None:
        """Return the test vocabulary as the generator reads it, (Ka, 1, D); None if it reads none."""
        if self.text_classifier_f is None or self.segmentor is None or not self.segmentor.needs_text:
            return None
        return self.text_classifier_f.bank(self.test_names, spread=spread)

    def test_bank(self) -> TextBank:
        """Return the text bank of the test vocabulary."""
        return self.text_classifier.bank(self.test_names)

    def return_label_maps(self) -> None:
        """Let inference return "sem_seg_labels" instead of the scores of all classes, "sem_seg"."""
        self.tasks = replace(self.tasks, label_maps=True)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.text_encoder.logit_scale.device

    @property
    def checkpoint_prefixes(self) -> tuple[str, ...]:
        """Beginnings of the state-dict names that a checkpoint keeps: the tuned parts."""
        prefixes = ("visual_encoder.", "psm.", "criterion.")
        return (*prefixes, "text_encoder.") if self.text_encoder.tuned else prefixes

    @property
    def random_parts(self) -> tuple[str, ...]:
        """Beginnings of the state-dict names of what is random until it is trained, and counts in evaluation."""
        return () if self.tasks.segmentor_only else ("psm.",)

    def train(self, mode: bool = True) -> MaskCLIPpp:
        """Switch mode; embeddings of a tuned text encoder are forgotten when training resumes."""
        if mode and self.text_encoder.tuned:
            self.text_classifier.clear()
        return super().train(mode)

    def forward(self, records: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Training: named losses. Evaluation: one dict of results per record, see :class:`TaskInference`.

        Args:
            records: detectron2 dicts; in training with "instances" (gt_masks, gt_classes).
        """
        records = [record | {"image": record["image"].to(self.device)} for record in records]
        return self.losses(records) if self.training else self.inference(records)

    def losses(self, records: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of classifying all ground-truth masks of the batch."""
        targets = [record["instances"].to(self.device) for record in records]
        if len(self.train_names) == 1:
            told = f"one train class, '{self.train_names[0][0]}': a softmax over one class is 1, so the loss is 0 and "
            self._warn_once("one class", f"{told}nothing is trained; name another class, such as 'background'")
        if not any(len(target) for target in targets):
            self._warn_once("no masks", without_masks(records, "such a step changes nothing"))
            return {"loss_ce": sum(p.sum() * 0.0 for p in self.parameters() if p.requires_grad)}
        check_targets(records)
        output = self.visual_encoder([record["image"] for record in records], [t.gt_masks for t in targets])
        bank = self.text_classifier.sample(self.train_names)
        labels = torch.cat([target.gt_classes for target in targets])
        image_index = mask_image_index(output).to(self.device)
        return self.criterion(self.name_logits(output, bank), labels, image_index, torch.cat(output.areas))

    def inference(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Find masks, label them, and do the tasks."""
        if self.tasks.segmentor_only:
            return self.tasks.generated(records, self.propose(records).masks)
        return self.tasks(records, self.label_masks(records), self.seen.to(self.device), self.test_metadata)

    def label_masks(self, records: list[dict[str, Any]]) -> list[LabelledMasks]:
        """Find masks and label them: class logits, with void if the generator knows it, and masks of each image."""
        proposals = self.propose(records)
        output = self.visual_encoder([record["image"] for record in records], proposals.masks)
        bank = self.test_bank()
        logits = max_over_synonyms(self.name_logits(output, bank), bank.class_index, bank.num_classes)
        per_image = logits.split([len(masks) for masks in proposals.masks])
        if proposals.logits is not None:
            seen = self.ensemble_seen.to(self.device)
            per_image = [
                combine_logits(ours, theirs.float(), seen, ensemble=self.ensemble, lookup=self.lookup)
                for ours, theirs in zip(per_image, proposals.logits, strict=True)
            ]
        return list(zip(per_image, proposals.masks, strict=True))

    def propose(self, records: list[dict[str, Any]]) -> MaskSet:
        """Run the generator on the features of the frozen encoder."""
        images = [record["image"] for record in records]
        if self.visual_encoder_f is None:
            sizes, features = [tuple(image.shape[-2:]) for image in images], {}
        else:
            transform = self.visual_encoder_f.transform
            sizes = [transform.target_size(*image.shape[-2:]) for image in images]
            features = self.visual_encoder_f(images).features
        return self.segmentor(records, sizes=sizes, features=features, text=self.generator_text())

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


def mask_image_index(output: VisualOutput) -> Tensor:
    """Return the image of each mask of the batch, (N,) long."""
    counts = torch.tensor([len(masks) for masks in output.mask_embeddings])
    return torch.arange(len(counts)).repeat_interleave(counts)


def class_entries(metadata: Any) -> list[str]:
    """Return the class entries of a dataset, stuff_classes (all classes) or else thing_classes."""
    return list(getattr(metadata, "stuff_classes", None) or metadata.thing_classes)


def dataset_name(metadata: Any) -> str:
    """Return how messages call the dataset of ``metadata``."""
    return getattr(metadata, "name", "the test vocabulary")


def seen_in_training(metadata: Any, train_classes: list[str]) -> list[bool]:
    """Tell of each test class whether it is among the train classes; say how many, and where spelling mattered."""
    entries, name = class_entries(metadata), dataset_name(metadata)
    seen = seen_ignoring_case(entries, train_classes)
    log_once(logger, logging.INFO, f"{name}: {sum(seen)} of {len(seen)} classes are seen in training")
    for note in spelling_notes(entries, train_classes):
        log_once(logger, logging.WARNING, f"{name}: {note}")
    return seen


def without_masks(records: list[dict[str, Any]], effect: str) -> str:
    """Say that a batch has no masks, and what to look for if it is not the only one."""
    first = records[0].get("file_name", "an image without a name")
    return (
        f"no masks in this batch of {len(records)} images, first {first}; {effect}. This is told once: if the loss "
        "stays as it is, all masks of the dataset are left out (ignored labels, crowds, empty masks)"
    )


def check_targets(records: list[dict[str, Any]]) -> None:
    """Check that the ground-truth masks are on the grid of their image.

    Raises:
        UserError: they are not.
    """
    for record in records:
        masks, image = tuple(record["instances"].image_size), tuple(record["image"].shape[-2:])
        if masks != image:
            name = record.get("file_name", "an image without a name")
            raise UserError(f"{name}: its masks are for a picture of {masks}, but it is {image}; check the mapper")
