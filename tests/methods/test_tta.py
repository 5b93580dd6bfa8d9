"""Test-time augmentation: the mean over views, mirrored ones turned back."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA

from maskclippp.inference import TaskInference
from maskclippp.mask_generators import GeneratorInput
from maskclippp.methods import AugmentedLabeller
from maskclippp.structures import MaskSet
from tests.common import (
    TEST_CLASSES,
    FixedMasks,
    labeller,
    metadata,
    random_image,
    rectangle_masks,
    tiny_model,
)


class FollowingMasks(FixedMasks):
    """The same masks on every view, mirrored with it."""

    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Resize to what is asked for."""
        masks = [
            masks.resize(size).hflip() if record["flipped"] else masks.resize(size)
            for masks, record, size in zip(self.found.masks, inputs.records, inputs.sizes, strict=True)
        ]
        return MaskSet(masks)


@pytest.fixture
def record():
    return {"image": random_image(64, 96), "height": 40, "width": 60}


def model_with(masks):
    return tiny_model(generator=FollowingMasks([masks])).eval()


def augmented(model, mapper, **options):
    return AugmentedLabeller(model, model.prepare(metadata(TEST_CLASSES)), TaskInference(**options), mapper)


@torch.no_grad()
def test_one_view_of_the_same_size_is_no_augmentation(record):
    model = model_with(rectangle_masks(3, 64, 96))
    (plain,) = labeller(model)([record | {"flipped": False}])
    (found,) = augmented(model, DatasetMapperTTA([64], 4000, False))([record])
    torch.testing.assert_close(found["sem_seg"], plain["sem_seg"])
    assert found["category_overlapping_mask"].equal(plain["category_overlapping_mask"])


@torch.no_grad()
def test_masks_of_mirrored_views_come_back_in_place(record):
    """Whatever the classes of the views: where no mask is, the mean is zero, and only there."""
    masks = torch.zeros(1, 64, 96)
    masks[0, :32, :24] = 1.0
    (found,) = augmented(model_with(masks), DatasetMapperTTA([64, 80], 4000, True))([record])
    present = found["sem_seg"].sum(dim=0)
    assert found["sem_seg"].shape == (4, 40, 60)
    torch.testing.assert_close(present[:18, :13], torch.ones(18, 13))
    assert float(present[:, 18:].abs().max()) < 1e-6 and float(present[23:].abs().max()) < 1e-6


@torch.no_grad()
def test_label_maps_are_the_arg_max_of_the_mean(record):
    model = model_with(rectangle_masks(4, 64, 96, seed=5))
    mapper = DatasetMapperTTA([48, 64, 90], 4000, True)
    (scores,) = augmented(model, mapper)([record])
    (labels,) = augmented(model, mapper, label_maps=True)([record])
    assert "sem_seg_labels" in labels and "sem_seg" not in labels
    assert labels["sem_seg_labels"].equal(scores["sem_seg"].argmax(dim=0))
