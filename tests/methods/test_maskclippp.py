"""The whole model: a training step, inference of every task, and a vocabulary that changes at run time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from benchmarks.naive import OneAttention
from maskclippp.inference import TaskInference
from maskclippp.methods.common import class_names
from tests.common import (
    TEST_CLASSES,
    FixedMasks,
    labeller,
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
        model([training_record(64, 64, [])])
    (told,) = [record.message for record in caplog.records if "no masks in this batch" in record.message]
    assert told.startswith("no masks in this batch of 2 images, first an image without a name; such a step changes")
    loss.backward()
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert float(loss.detach()) == 0.0
    assert all(p.grad is not None and p.grad.abs().max() == 0 for p in trainable)


def test_masks_that_all_vanish_give_a_zero_loss(caplog):
    record = training_record(64, 64, [0, 1])
    record["instances"].gt_masks[:] = False
    model = tiny_model().train()
    for _ in range(2):
        loss = model([record])["loss_ce"]
        loss.backward()
        assert float(loss.detach()) == 0.0
    (told,) = [each.message for each in caplog.records if each.levelname == "WARNING" and "masks" in each.message]
    assert told.startswith(
        "all 2 masks of this batch are smaller than the patch grid tells; such a step changes nothing"
    )


def test_one_train_class_is_told_once(caplog):
    """A softmax over one class is 1 whatever the weights."""
    model = tiny_model()
    model.train_names = (("dog", "puppy"),)
    model.train()
    for _ in range(2):
        assert float(model([training_record(64, 64, [0, 0])])["loss_ce"].detach()) == 0.0
    (told,) = [each.message for each in caplog.records if "one train class" in each.message]
    assert told == (
        "one train class, 'dog': a softmax over one class is 1, so the loss is 0 and nothing is trained; "
        "name another class, such as 'background'"
    )


def test_what_is_said_of_a_vocabulary(caplog):
    """Seen classes, in whatever case; classes that are the same to the text encoder, which lower-cases."""
    caplog.set_level(logging.INFO)
    long = "a very " * 80
    names = ["Traffic  Light", "grass", "DOG, Sky", "Grass", f"{long}old", f"{long}new", "sky"]
    model = tiny_model()
    assert model.prepare(metadata(names, name="mine")).seen.tolist() == [True, False, True, False, False, False, True]
    said = [record.message for record in caplog.records if record.message.startswith("mine: ")]
    assert said == [
        "mine: 3 of 7 classes are seen in training",
        "mine: 2 classes count as seen, but are spelt with other case or blanks: Traffic  Light, DOG",
        "mine: 3 classes never win, for the text encoder reads their names as those of earlier ones: "
        f"'Grass' as 'grass', '{long[:60]}...' as '{long[:60]}...', 'sky' as 'Sky' of 'DOG'",
    ]
    model.prepare(metadata(names, name="mine"))
    assert len([record for record in caplog.records if record.message.startswith("mine: ")]) == 3


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
    with torch.no_grad():
        results = labeller(tiny_model(generator=FixedMasks(masks)))(records)
    assert [tuple(result["sem_seg"].shape) for result in results] == [(4, 30, 40), (4, 24, 40), (4, 24, 40)]
    assert results[1]["sem_seg"].abs().max() == 0
    assert results[0].keys() == {"category_overlapping_mask", "sem_seg", "sem_seg_uncovered", "uncovered_is_void"}
    assert results[0]["category_overlapping_mask"].tolist() == [True, False, True, False]


def test_inference_one_by_one(records, masks):
    with torch.no_grad():
        together = labeller(tiny_model(generator=FixedMasks(masks)))(records)
        for record, picture, expected in zip(records, masks, together, strict=True):
            (alone,) = labeller(tiny_model(generator=FixedMasks([picture])))([record])
            torch.testing.assert_close(alone["sem_seg"], expected["sem_seg"], rtol=0, atol=1e-5)


def test_mask_accuracy_results(records, masks):
    model, tasks = tiny_model(generator=FixedMasks(masks)), TaskInference(mask_accuracy=True)
    with torch.no_grad():
        results = labeller(model, tasks)(records)
    assert [len(result["mask_cls"]) for result in results] == [3, 0, 2]
    assert "sem_seg" not in results[0]
    assert set(torch.cat([result["mask_cls_unseen"] for result in results]).tolist()) <= {1, 3}
    with torch.no_grad():
        assert "mask_cls_unseen" not in labeller(model, tasks, ["sky", "dog"])(records)[0]


def test_all_tasks_with_a_generator_that_has_logits(records, masks):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(picture), 5, generator=generator) for picture in masks]
    tasks = TaskInference(panoptic=True, instance=True, top_k=5)
    model = tiny_model(generator=FixedMasks(masks, logits), ensemble=(0.6, 0.9))
    label = labeller(model, tasks, TEST_CLASSES, thing_dataset_id_to_contiguous_id={10: 0, 30: 3})
    with torch.no_grad():
        results = label(records)
    for result, record in zip(results, records, strict=True):
        size = (record["height"], record["width"])
        segmentation, segments = result["panoptic_seg"]
        assert tuple(segmentation.shape) == size and result["instances"].image_size == size
        assert set(segmentation.unique().tolist()) - {0} == {segment["id"] for segment in segments}
        assert all(segment["isthing"] == (segment["category_id"] in (0, 3)) for segment in segments)
        assert set(result["instances"].pred_classes.tolist()) <= {0, 3}
    assert len(results[1]["instances"]) == 0 and results[1]["panoptic_seg"][1] == []


def test_vocabularies_do_not_disturb_each_other(records, masks):
    """Two threads with two vocabularies on one model: the results are those of one after the other."""
    model = tiny_model(generator=FixedMasks(masks))
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def label(classes: list[str]) -> list[dict]:
        with torch.no_grad():
            return [labeller(model, None, classes)(records) for _ in range(4)][-1]

    vocabularies = [["dog", "lawn"], TEST_CLASSES]
    expected = [label(classes) for classes in vocabularies]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(label, vocabularies))
    for one, other in zip(expected, found, strict=True):
        for first, second in zip(one, other, strict=True):
            assert torch.equal(first["sem_seg"], second["sem_seg"])
            assert torch.equal(first["category_overlapping_mask"], second["category_overlapping_mask"])
    assert found[0][0]["sem_seg"].shape[0] == 2 and found[0][0]["category_overlapping_mask"].tolist() == [True, False]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_synonym_never_lowers_its_class(records, masks):
    model, logits = tiny_model(generator=FixedMasks(masks)).eval(), []
    with torch.no_grad():
        for classes in (TEST_CLASSES, [entry + ",another name" for entry in TEST_CLASSES]):
            found = model.infer(records, model.prepare(metadata(classes)))
            logits.append(torch.cat([each.logits for each in found]))
    assert (logits[1] >= logits[0] - 1e-4).all()


def test_tuned_text_is_embedded_anew_after_training(records, masks):
    model = tiny_model(generator=FixedMasks(masks), text={"finetune_type": "all"})
    with torch.no_grad():
        first = labeller(model)(records)[0]["sem_seg"]
        model.text_encoder.text_projection.add_(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))
        torch.testing.assert_close(labeller(model)(records)[0]["sem_seg"], first)  # remembered
        model.train()
        assert (labeller(model)(records)[0]["sem_seg"] - first).abs().max() > 1e-4


def test_loading_weights_forgets_the_text_bank(records, masks):
    model = tiny_model(generator=FixedMasks(masks))
    with torch.no_grad():
        first = labeller(model)(records)[0]["sem_seg"]
        state = {name: value.clone() for name, value in model.state_dict().items()}
        state["text_encoder.text_projection"] += torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
        model.load_state_dict(state)
        assert (labeller(model)(records)[0]["sem_seg"] - first).abs().max() > 1e-4


def test_whole_model_with_the_naive_encoder(records, masks):
    """The same results with one attention over all tokens."""
    with torch.no_grad():
        results = [
            labeller(tiny_model(generator=FixedMasks(masks), visual={"encoder_class": encoder}))(records)
            for encoder in (OneAttention, type(tiny_model().visual_encoder))
        ]
    for naive, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours["sem_seg"], naive["sem_seg"], rtol=0, atol=1e-5)


def test_class_names():
    assert class_names(metadata(["a, b", "c"], thing_classes=["c"])) == (("a", "b"), ("c",))
    assert class_names(metadata([], thing_classes=["c"])) == (("c",),)
