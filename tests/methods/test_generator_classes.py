"""What the generator's own classifier says, and masks without classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from maskclippp.inference import TaskInference, add_void, closed_to_test_logits, geometric_ensemble
from maskclippp.structures import ClosedClasses
from maskclippp.utils.errors import UserError
from tests.common import (
    TEST_CLASSES,
    TRAIN_NAMES,
    FixedMasks,
    labeller,
    metadata,
    random_image,
    rectangle_masks,
    tiny_model,
)


class ClosedGenerator(FixedMasks):
    """A generator that knows the training classes."""

    classes = ClosedClasses(len(TRAIN_NAMES))


@pytest.fixture
def records():
    return [{"image": random_image(64, 64), "height": 30, "width": 40}]


def closed_model(columns: int = len(TRAIN_NAMES) + 1, **options):
    logits = torch.randn(3, columns, generator=torch.Generator().manual_seed(0))
    generator = ClosedGenerator([rectangle_masks(3, 64, 64)], [logits])
    return tiny_model(generator=generator, **options).eval(), logits


@torch.no_grad()
def test_a_closed_classifier_is_looked_up(records):
    model, theirs = closed_model(ensemble=(0.6, 0.8))
    prepared = model.prepare(metadata(TEST_CLASSES))
    (found,) = model.infer(records, prepared)
    model.ensemble = None
    (plain,) = model.infer(records, model.prepare(metadata(TEST_CLASSES)))
    # Without the ensemble only the void probability is the generator's.
    void = theirs.softmax(dim=-1)[:, -1]
    torch.testing.assert_close(plain.logits.exp()[:, -1], void, atol=1e-6, rtol=0)
    ours = torch.log(plain.logits.exp()[:, :-1] / (1 - void)[:, None])
    on_test = closed_to_test_logits(theirs, prepared.lookup, len(TEST_CLASSES))
    mixed = geometric_ensemble(ours, on_test, prepared.seen, alpha=0.6, beta=0.8)
    torch.testing.assert_close(found.logits.exp(), add_void(mixed, theirs).exp(), atol=1e-5, rtol=0)


def test_a_generator_of_other_classes_is_refused():
    class Other(ClosedGenerator):
        classes = ClosedClasses(133)

    vocabulary = metadata(TEST_CLASSES)
    with pytest.raises(UserError, match=r"knows 133 classes, but DATASETS.TRAIN\[0\] has 3; set DATASETS.TRAIN"):
        tiny_model(generator=Other([]), ensemble=(0.6, 0.8)).prepare(vocabulary)
    assert tiny_model(generator=Other([])).prepare(vocabulary).lookup is None  # without the ensemble only void counts


def test_a_generator_with_names_of_its_own():
    class Named(ClosedGenerator):
        classes = ClosedClasses(2, (("wall",), ("grass", "lawn")))

    prepared = tiny_model(generator=Named([]), ensemble=(0.6, 0.8)).prepare(metadata(TEST_CLASSES))
    assert prepared.lookup.tolist() == [len(TEST_CLASSES), 1, len(TEST_CLASSES)]
    # What it knows decides the ensemble's exponents; what training had in it, the classes that are called seen.
    assert prepared.ensemble_seen.nonzero().flatten().tolist() == [1]
    assert prepared.seen.tolist() == [True, False, True, False]


def test_nothing_to_ensemble_is_an_error():
    model, _ = closed_model(ensemble=(0.6, 0.8))
    with pytest.raises(UserError, match="nothing to ensemble; set MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False"):
        model.prepare(metadata(["unheard of", "never seen"]))
    model.ensemble = None
    model.prepare(metadata(["unheard of", "never seen"]))


@torch.no_grad()
def test_masks_without_classes(records):
    model, _ = closed_model()
    (result,) = labeller(model, TaskInference(segmentor_only=True))(records)
    assert result.keys() == {"pred_masks", "uncovered_is_void", "mask_scores"} and not result["uncovered_is_void"]
    assert result["mask_scores"].shape == (3,) and ((result["mask_scores"] > 0) & (result["mask_scores"] < 1)).all()
    masks = result["pred_masks"]
    assert masks.shape == (3, 30, 40) and masks.dtype == torch.bool
    expected = torch.nn.functional.interpolate(
        rectangle_masks(3, 64, 64)[:, None], size=(30, 40), mode="bilinear", align_corners=False
    )[:, 0]
    assert masks.equal(expected > 0.5)


@torch.no_grad()
def test_label_maps_instead_of_scores(records):
    model, _ = closed_model()
    (scores,) = labeller(model)(records)
    tasks = TaskInference(label_maps=True)
    (labels,) = labeller(model, tasks)(records)
    assert "sem_seg" not in labels and labels["sem_seg_labels"].equal(scores["sem_seg"].argmax(dim=0))
    more = labeller(model, replace(tasks, panoptic=True, instance=True))(records)[0]
    assert {"panoptic_seg", "instances", "sem_seg_labels"} <= more.keys()
