"""The whole model: a training step, inference of every task, and a vocabulary that changes at run time."""

from __future__ import annotations

import logging

import pytest
import torch

from benchmarks.naive import NaiveCLIPViT
from maskclippp.methods.maskclippp import class_entries
from maskclippp.methods.tasks import TaskInference
from tests.common import (
    TEST_CLASSES,
    FixedMasks,
    metadata,
    random_image,
    rectangle_masks,
    tiny_model,
    training_record,
)

RECORDS = [training_record(64, 64, [0, 2, 2], seed=1), training_record(48, 80, [1], seed=2)]


def test_training_step_reaches_every_trainable_parameter():
    model = tiny_model(text={"finetune_type": "attention"}).train()
    losses = model(RECORDS)
    assert losses.keys() == {"loss_ce"} and torch.isfinite(losses["loss_ce"])
    losses["loss_ce"].backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trainable} == {"visual_encoder", "text_encoder", "psm"}
    assert [name for name, p in trainable.items() if p.grad is None] == []
    assert [name for name, p in model.named_parameters() if not p.requires_grad and p.grad is not None] == []


def test_training_lowers_the_loss():
    model = tiny_model().train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    history = []
    for _ in range(8):
        torch.manual_seed(0)
        loss = model(RECORDS)["loss_ce"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.9 * history[0]


def test_images_without_masks_do_not_count():
    model = tiny_model().train()
    losses = []
    for records in (RECORDS, [*RECORDS, training_record(64, 64, [])]):
        torch.manual_seed(0)
        losses.append(model(records)["loss_ce"])
    torch.testing.assert_close(*losses)


def test_a_batch_without_masks_is_zero_for_all_trainable_parameters(caplog):
    model = tiny_model(text={"finetune_type": "attention"}).train()
    with caplog.at_level(logging.WARNING):
        loss = model([training_record(64, 64, []), training_record(48, 80, [])])["loss_ce"]
    assert "no masks in this batch of 2 images" in caplog.text
    loss.backward()
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert float(loss.detach()) == 0.0
    assert all(p.grad is not None and p.grad.abs().max() == 0 for p in trainable)


def test_masks_that_all_vanish_give_a_zero_loss():
    record = training_record(64, 64, [0])
    record["instances"].gt_masks[:] = False
    loss = tiny_model().train()([record])["loss_ce"]
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_checkpoint_prefixes():
    assert tiny_model().checkpoint_prefixes == ("visual_encoder.", "psm.", "criterion.")
    tuned = tiny_model(text={"finetune_type": "proj"})
    assert tuned.checkpoint_prefixes == ("visual_encoder.", "psm.", "criterion.", "text_encoder.")
    names = tuned.state_dict()
    assert all(
        any(name.startswith(prefix) for name in names) for prefix in tuned.checkpoint_prefixes if "crit" not in prefix
    )


@pytest.fixture
def masks():
    return [rectangle_masks(3, 64, 64, seed=3), rectangle_masks(0, 48, 80), rectangle_masks(2, 48, 80, seed=4)]


@pytest.fixture
def records():
    sizes = [(64, 64, 30, 40), (48, 80, 24, 40), (48, 80, 24, 40)]
    return [
        {"image": random_image(h, w, seed=index), "height": height, "width": width}
        for index, (h, w, height, width) in enumerate(sizes)
    ]


def test_semantic_inference(records, masks):
    model = tiny_model(generator=FixedMasks(masks)).eval()
    with torch.no_grad():
        results = model(records)
    assert [tuple(result["sem_seg"].shape) for result in results] == [(4, 30, 40), (4, 24, 40), (4, 24, 40)]
    assert results[1]["sem_seg"].abs().max() == 0
    assert results[0].keys() == {"category_overlapping_mask", "sem_seg"}
    assert results[0]["category_overlapping_mask"].tolist() == [True, False, True, False]


def test_inference_one_by_one(records, masks):
    together_model = tiny_model(generator=FixedMasks(masks)).eval()
    with torch.no_grad():
        together = together_model(records)
        for record, picture, expected in zip(records, masks, together, strict=True):
            (alone,) = tiny_model(generator=FixedMasks([picture])).eval()([record])
            torch.testing.assert_close(alone["sem_seg"], expected["sem_seg"], rtol=0, atol=1e-5)


def test_mask_accuracy_results(records, masks):
    model = tiny_model(generator=FixedMasks(masks), tasks=TaskInference(mask_accuracy=True)).eval()
    with torch.no_grad():
        results = model(records)
    assert [len(result["mask_cls"]) for result in results] == [3, 0, 2]
    assert "sem_seg" not in results[0]
    assert set(torch.cat([result["mask_cls_unseen"] for result in results]).tolist()) <= {1, 3}
    model.set_metadata(metadata(["sky", "dog"]))
    with torch.no_grad():
        assert "mask_cls_unseen" not in model(records)[0]


def test_all_tasks_with_a_generator_that_has_logits(records, masks):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(picture), 5, generator=generator) for picture in masks]
    tasks = TaskInference(panoptic=True, instance=True, top_k=5)
    model = tiny_model(generator=FixedMasks(masks, logits), tasks=tasks, ensemble=(0.6, 0.9)).eval()
    model.set_metadata(metadata(TEST_CLASSES, thing_dataset_id_to_contiguous_id={10: 0, 30: 3}))
    with torch.no_grad():
        results = model(records)
    for result, record in zip(results, records, strict=True):
        size = (record["height"], record["width"])
        segmentation, segments = result["panoptic_seg"]
        assert tuple(segmentation.shape) == size and result["instances"].image_size == size
        assert set(segmentation.unique().tolist()) - {0} == {segment["id"] for segment in segments}
        assert all(segment["isthing"] == (segment["category_id"] in (0, 3)) for segment in segments)
        assert set(result["instances"].pred_classes.tolist()) <= {0, 3}
    assert len(results[1]["instances"]) == 0 and results[1]["panoptic_seg"][1] == []


def test_the_vocabulary_changes_at_run_time(records, masks):
    model = tiny_model(generator=FixedMasks(masks)).eval()
    with torch.no_grad():
        before = model(records)[0]["sem_seg"]
        model.set_metadata(metadata(["dog", "lawn"]))
        other = model(records)[0]
        model.set_metadata(metadata(TEST_CLASSES))
        again = model(records)[0]["sem_seg"]
    assert other["sem_seg"].shape[0] == 2
    assert other["category_overlapping_mask"].tolist() == [True, False]
    torch.testing.assert_close(before, again)


def test_a_synonym_never_lowers_its_class(records, masks):
    tasks = TaskInference(mask_accuracy=True)
    model = tiny_model(generator=FixedMasks(masks), tasks=tasks).eval()
    logits = []
    with torch.no_grad():
        logits.append(torch.cat([found for found, _ in model.label_masks(records)]))
        model.set_metadata(metadata([entry + ",another name" for entry in TEST_CLASSES]))
        logits.append(torch.cat([found for found, _ in model.label_masks(records)]))
    assert (logits[1] >= logits[0] - 1e-4).all()


def test_tuned_text_is_embedded_anew_after_training(records, masks):
    model = tiny_model(generator=FixedMasks(masks), text={"finetune_type": "all"}).eval()
    with torch.no_grad():
        first = model(records)[0]["sem_seg"]
        model.text_encoder.text_projection.add_(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))
        torch.testing.assert_close(model(records)[0]["sem_seg"], first)  # remembered
        model.train()
        model.eval()
        changed = model(records)[0]["sem_seg"]
    assert (changed - first).abs().max() > 1e-4


def test_loading_weights_forgets_the_text_bank(records, masks):
    model = tiny_model(generator=FixedMasks(masks)).eval()
    with torch.no_grad():
        first = model(records)[0]["sem_seg"]
        state = {name: value.clone() for name, value in model.state_dict().items()}
        state["text_encoder.text_projection"] += torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
        model.load_state_dict(state)
        assert (model(records)[0]["sem_seg"] - first).abs().max() > 1e-4


def test_whole_model_with_the_naive_encoder(records, masks):
    """The same results with one attention over all tokens."""
    with torch.no_grad():
        results = [
            tiny_model(generator=FixedMasks(masks), visual={"encoder_class": encoder}).eval()(records)
            for encoder in (NaiveCLIPViT, type(tiny_model().visual_encoder))
        ]
    for naive, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours["sem_seg"], naive["sem_seg"], rtol=0, atol=1e-5)


def test_class_entries():
    assert class_entries(metadata(["a,b", "c"], thing_classes=["c"])) == ["a,b", "c"]
    assert class_entries(metadata([], thing_classes=["c"])) == ["c"]
