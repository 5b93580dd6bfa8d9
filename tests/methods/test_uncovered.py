"""From masks that leave pixels free to label maps: which generators make void predictions, and what the config says."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA

from maskclippp.config import default_config
from maskclippp.inference import TaskInference
from maskclippp.mask_generators import MaskGenerator
from maskclippp.mask_generators.ground_truth import GTSegmentor, PanGTSegmentor
from maskclippp.mask_generators.offline import OfflineSegmentor
from maskclippp.structures import MaskRules
from maskclippp.utils.errors import UserError
from tests.common import FixedMasks, labeller, random_image, tiny_model
from tests.methods.test_tta import FollowingMasks, augmented

HEIGHT, WIDTH = 48, 64
VOID = 4  # the number of test classes


@pytest.fixture
def record():
    return {"image": random_image(HEIGHT, WIDTH), "height": HEIGHT, "width": WIDTH}


@pytest.fixture
def masks():
    """Two masks that cover the left half; the others are everywhere a little, as those of a query decoder."""
    found = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    found[0, : HEIGHT // 2, : WIDTH // 2], found[1, HEIGHT // 2 :, : WIDTH // 2] = True, True
    return found


def with_rules(generator: FixedMasks, rules: MaskRules) -> FixedMasks:
    generator.rules = rules
    return generator


def label_map(masks, record, rules):
    model = tiny_model(generator=with_rules(FixedMasks([masks]), rules))
    with torch.no_grad():
        (scores,) = labeller(model)([record])
        (labels,) = labeller(model, TaskInference(label_maps=True))([record])
    assert scores["sem_seg_uncovered"].equal(labels["sem_seg_uncovered"])
    assert scores["uncovered_is_void"] == labels["uncovered_is_void"] == rules.uncovered_is_void
    return labels["sem_seg_labels"], labels["sem_seg_uncovered"], scores["sem_seg"].argmax(dim=0)


def test_void_where_no_mask_is(masks, record):
    free = ~masks.any(dim=0)
    labels, uncovered, best = label_map(masks, record, MaskRules(solid=True, uncovered_is_void=True))
    assert uncovered.equal(free) and (labels[free] == VOID).all() and labels[~free].equal(best[~free])
    labels, uncovered, best = label_map(masks, record, MaskRules(solid=True))
    assert uncovered.equal(free) and labels.equal(best) and (labels[free] == 0).all()  # as published


def test_masks_of_a_query_decoder(masks, record):
    soft = masks.float() * 0.98 + 0.01
    labels, uncovered, best = label_map(soft, record, MaskRules())
    assert not uncovered.any() and labels.equal(best)
    # Asked for, they are void where no mask reaches a half.
    labels, uncovered, best = label_map(soft, record, MaskRules(uncovered_is_void=True))
    assert uncovered.equal(~masks.any(dim=0)) and (labels[uncovered] == VOID).all()


@pytest.mark.parametrize("void", [False, True])
def test_a_picture_without_masks(record, void):
    labels, uncovered, _ = label_map(torch.zeros(0, HEIGHT, WIDTH), record, MaskRules(uncovered_is_void=void))
    assert uncovered.all() and (labels == (VOID if void else 0)).all()


@torch.no_grad()
@pytest.mark.parametrize("as_labels", [False, True])
def test_augmentation(masks, record, as_labels):
    rules = MaskRules(solid=True, uncovered_is_void=True)
    model = tiny_model(generator=with_rules(FollowingMasks([masks]), rules)).eval()
    mapper = DatasetMapperTTA([HEIGHT, 2 * HEIGHT], 4000, True)
    (found,) = augmented(model, mapper, label_maps=as_labels)([record])
    assert found["sem_seg_uncovered"].equal(~masks.any(dim=0)) and found["uncovered_is_void"]
    if as_labels:
        assert (found["sem_seg_labels"] == VOID).equal(~masks.any(dim=0))


@torch.no_grad()
def test_masks_alone(masks, record):
    generator = with_rules(FixedMasks([masks]), MaskRules(solid=True, uncovered_is_void=True))
    (found,) = labeller(tiny_model(generator=generator), TaskInference(segmentor_only=True))([record])
    assert found["uncovered_is_void"] and found["pred_masks"].equal(masks)


def test_the_rule_of_each_generator():
    assert OfflineSegmentor.rules == MaskRules(solid=True, uncovered_is_void=True)
    assert GTSegmentor.rules == PanGTSegmentor.rules == MaskRules(solid=True)  # published numbers
    assert MaskGenerator.rules == MaskRules()


@pytest.mark.parametrize("rules", [MaskRules(), MaskRules(solid=True, uncovered_is_void=True)])
@pytest.mark.parametrize("choice", ["auto", "void", "argmax"])
def test_the_config_decides(masks, record, rules, choice):
    cfg = default_config()
    assert cfg.MODEL.MASKCLIPPP.TEST.UNCOVERED == "auto"
    cfg.MODEL.MASKCLIPPP.TEST.UNCOVERED = choice
    tasks = TaskInference.from_config(cfg)
    (found,) = labeller(tiny_model(generator=with_rules(FixedMasks([masks]), rules)), tasks)([record])
    assert found["uncovered_is_void"] == (rules.uncovered_is_void if choice == "auto" else choice == "void")


def test_an_unknown_choice():
    cfg = default_config()
    cfg.MODEL.MASKCLIPPP.TEST.UNCOVERED = "Void"
    with pytest.raises(UserError, match="TEST.UNCOVERED 'Void' is unknown; choose one of auto, void, argmax"):
        TaskInference.from_config(cfg)
