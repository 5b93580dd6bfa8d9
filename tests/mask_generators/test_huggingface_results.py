"""Results with masks of transformers' models against its own post-processing."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from maskclippp.inference import TaskInference
from maskclippp.mask_generators import GeneratorInput
from maskclippp.mask_generators.huggingface import HuggingFaceSegmentor
from maskclippp.structures import MaskPrediction, PreparedVocabulary
from tests.common import random_image

from .test_huggingface import LABELS, MASKS, SAVERS, folder  # noqa: F401

pytestmark = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the package transformers")

CLASSES = len(LABELS)
THINGS = [2]
# (grid that a classifier wants, original picture): the same, larger, smaller than the picture, and a tiny picture,
# smaller than the grid of the model.
GRIDS = [((50, 70), (50, 70)), ((33, 44), (150, 190)), ((100, 140), (61, 47)), ((50, 70), (9, 11))]


class Sharp(torch.nn.Module):
    """A model whose masks and classes are replaced by clear ones; those of a random model are next to constant."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.config, self.seed, self.outputs = model, model.config, 0, None

    def forward(self, **inputs):
        """Outputs of the same shapes; the last ones are kept."""
        found, generator = self.model(**inputs), torch.Generator().manual_seed(self.seed)
        coarse = torch.randn(1, MASKS, 4, 5, generator=generator) * 6 - 1
        size = found.masks_queries_logits.shape[-2:]
        masks = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
        masks = masks + torch.randn(masks.shape, generator=generator)
        classes = torch.randn(found.class_queries_logits.shape, generator=generator) * 3
        self.outputs = SimpleNamespace(masks_queries_logits=masks, class_queries_logits=classes)
        return self.outputs


@pytest.fixture(scope="module")
def generators(folder):  # noqa: F811
    """A generator of each kind, with sharp masks."""
    found = {kind: HuggingFaceSegmentor(pretrained=str(folder(kind))) for kind in SAVERS}
    for generator in found.values():
        generator.model = Sharp(generator.model)
        generator.processor.class_info_file = ""  # transformers looks into its name
    return found


def results(generators, kind: str, seed: int, grid, size, rules=None, **tasks):
    """What our tasks make of masks and classes of a model; its image processor; and its outputs."""
    generator = generators[kind]
    generator.model.seed = seed
    record = {"image": random_image(50, 70), "height": size[0], "width": size[1]}
    found = generator(GeneratorInput(records=[record], sizes=[grid]))
    assert found.masks[0].size == grid
    settings = {"top_k": MASKS, "object_threshold": 0.5, "overlap_threshold": 0.8} | tasks
    prepared = PreparedVocabulary(
        name="labels", names=[(label,) for label in LABELS], things=tuple(THINGS), seen=torch.zeros(CLASSES).bool()
    )
    prediction = MaskPrediction(found.logits[0], found.masks[0], rules or generator.rules)
    (result,) = TaskInference(**settings)([record], [prediction], prepared)
    return result, generator.processor, generator.model.outputs


def share(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Part of the pixels that differ; rounding may decide single ones where two masks or classes are equal."""
    return float((found != expected).float().mean())


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("grid", "size"), GRIDS)
@pytest.mark.parametrize("label_maps", [False, True])
def test_semantic(generators, kind, seed, grid, size, label_maps) -> None:
    result, processor, outputs = results(generators, kind, seed, grid, size, label_maps=label_maps)
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])
    found = result["sem_seg_labels"] if label_maps else result["sem_seg"].argmax(dim=0)
    assert len(expected.unique()) > 1 and found.shape == size
    assert share(found, expected) <= 1e-4


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("grid", "size"), GRIDS)
@pytest.mark.parametrize("things", [[0, 1, 2], [2]])
@pytest.mark.parametrize("thresholds", [(0.5, 0.8), (0.1, 0.3), (0.999, 0.8)])
def test_panoptic(generators, kind, seed, grid, size, things, thresholds, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "THINGS", things)
    options = dict(zip(("object_threshold", "overlap_threshold"), thresholds, strict=True))
    result, processor, outputs = results(generators, kind, seed, grid, size, semantic=False, panoptic=True, **options)
    segmentation, segments = result["panoptic_seg"]
    (expected,) = processor.post_process_panoptic_segmentation(
        outputs,
        threshold=thresholds[0],
        overlap_mask_area_threshold=thresholds[1],
        label_ids_to_fuse=set(range(CLASSES)) - set(things),
        target_sizes=[size],
    )
    theirs = {each["id"]: each["label_id"] for each in expected["segments_info"]}
    ours = {each["id"]: each["category_id"] for each in segments}
    labels = torch.tensor([-1, *(ours[number] for number in sorted(ours))])[segmentation.long()]
    if len(things) == CLASSES:  # nothing is joined: segments and their numbers are equal
        assert theirs == ours and share(segmentation, expected["segmentation"].clamp(min=0)) <= 1e-4
    elif len(theirs) == len({(each["id"], each["label_id"]) for each in expected["segments_info"]}):
        table = torch.tensor([theirs.get(number, -1) for number in range(max(theirs, default=0) + 1)])
        assert share(labels, table[expected["segmentation"].long().clamp(min=0)]) <= 1e-4


@pytest.mark.parametrize("kind", ["mask2former", "maskformer"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_instances(generators, kind, seed, grid, size, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "THINGS", [0, 1, 2])
    result, processor, outputs = results(generators, kind, seed, grid, size, semantic=False, instance=True)
    options = {"threshold": 0.0, "target_sizes": [size], "return_binary_maps": True}
    (expected,) = processor.post_process_instance_segmentation(outputs, **options)
    compare_instances(result["instances"], expected["segmentation"].bool(), expected["segments_info"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("grid", "size"), GRIDS)
@pytest.mark.parametrize("thresholds", [(0.5, 0.8), (0.0, 0.3), (0.9999, 0.8)])
def test_instances_of_oneformer(generators, seed, grid, size, thresholds, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "THINGS", [0, 1, 2])
    options = dict(zip(("object_threshold", "overlap_threshold"), thresholds, strict=True))
    result, processor, outputs = results(
        generators, "oneformer", seed, grid, size, semantic=False, instance=True, **options
    )
    (expected,) = processor.post_process_instance_segmentation(
        outputs, threshold=thresholds[0], overlap_mask_area_threshold=thresholds[1], target_sizes=[size]
    )
    numbers = torch.tensor([each["id"] for each in expected["segments_info"]])
    masks = expected["segmentation"] == numbers[:, None, None]
    compare_instances(result["instances"], masks, expected["segments_info"])


def compare_instances(found, masks: torch.Tensor, segments: list[dict]) -> None:
    """The same ones, in any order: transformers does not sort them."""
    assert len(found) == len(segments)
    keys = [
        (label, round(score, 4))
        for label, score in zip(found.pred_classes.tolist(), found.scores.tolist(), strict=True)
    ]
    wanted = [(each["label_id"], round(each["score"], 4)) for each in segments]
    assert sorted(keys) == sorted(wanted)
    for key, mask in zip(keys, found.pred_masks, strict=True):
        assert share(mask, masks[wanted.index(key)]) <= 1e-4


def test_only_things_are_instances(generators) -> None:
    result, _, _ = results(generators, "mask2former", 0, (50, 70), (50, 70), instance=True)
    assert set(result["instances"].pred_classes.tolist()) <= set(THINGS)


@pytest.mark.parametrize("kind", SAVERS)
def test_nothing_is_kept(generators, kind) -> None:
    """An empty map and no instances, not an error."""
    options = {"panoptic": True, "instance": True, "object_threshold": 1.0}
    result, _, _ = results(generators, kind, 0, (50, 70), (20, 30), **options)
    segmentation, segments = result["panoptic_seg"]
    assert segmentation.shape == (20, 30) and not segmentation.any() and segments == []
    if kind == "oneformer":
        assert result["instances"].pred_masks.shape == (0, 20, 30)


def test_published_rules_stay_what_they_are(generators) -> None:
    """The same masks under the published rules: areas of masks alone, and no pixel where a mask is not solid."""
    published = replace(generators["mask2former"].rules, postprocessing="published")
    ours, _, _ = results(generators, "mask2former", 1, (50, 70), (50, 70), panoptic=True, object_threshold=0.1)
    other, _, _ = results(
        generators, "mask2former", 1, (50, 70), (50, 70), panoptic=True, object_threshold=0.1, rules=published
    )
    assert not ours["panoptic_seg"][0].equal(other["panoptic_seg"][0])
    assert (other["panoptic_seg"][0] == 0).sum() > (ours["panoptic_seg"][0] == 0).sum()
