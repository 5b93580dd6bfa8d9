"""Training of a Mask2Former, its own evaluation, and its checkpoints as files of a mask generator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY, build_model

from maskclippp.config import load_config
from maskclippp.data.datasets import get_metadata
from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.inference import TaskInference
from maskclippp.mask_generators import GeneratorInput, build_mask_generator
from maskclippp.methods import Labeller, Mask2Former
from maskclippp.methods.mask2former import to_test_logits
from maskclippp.structures import ImageTransform
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder

from ..common import metadata, random_image, training_record

TINY = {
    "MODEL.META_ARCHITECTURE": "Mask2Former",
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.NAME": "D2SwinTransformer",
    "MODEL.SWIN.EMBED_DIM": 16,
    "MODEL.SWIN.DEPTHS": [1, 1, 2, 1],
    "MODEL.SWIN.NUM_HEADS": [1, 2, 2, 4],
    "MODEL.SWIN.WINDOW_SIZE": 4,
    "MODEL.SWIN.DROP_PATH_RATE": 0.0,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 60,
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "MODEL.SEM_SEG_HEAD.MASK_DIM": 16,
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 1,
    "MODEL.MASK_FORMER.HIDDEN_DIM": 32,
    "MODEL.MASK_FORMER.NHEADS": 2,
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD": 32,
    "MODEL.MASK_FORMER.DEC_LAYERS": 3,
    "MODEL.MASK_FORMER.DROPOUT": 0.0,
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 6,
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": 200,
    "MODEL.MASK_FORMER.CLASS_WEIGHT": 2.0,
    "MODEL.MASK_FORMER.MASK_WEIGHT": 5.0,
    "MODEL.MASK_FORMER.DICE_WEIGHT": 5.0,
    "MODEL.MASK_FORMER.TEST.PANOPTIC_ON": True,
    "MODEL.MASK_FORMER.TEST.INSTANCE_ON": True,
    "DATASETS.TRAIN": ("toy_panoptic_train",),
    "DATASETS.TEST": ("toy_panoptic_val",),
}


def _config(**changes):
    pairs = TINY | {key.replace("__", "."): value for key, value in changes.items()}
    return load_config("", [str(part) for pair in pairs.items() for part in pair])


def _model(**changes) -> Mask2Former:
    torch.manual_seed(0)
    return build_model(_config(**changes))


@pytest.fixture(scope="module")
def model() -> Mask2Former:
    return _model().eval()


def test_training_learns_one_batch():
    model = _model().train()
    batch = [training_record(64, 64, [3, 17], seed=1), training_record(40, 72, [5], seed=2)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(25):
        torch.manual_seed(0)  # the same points in every step
        losses = model(batch)
        totals.append(sum(losses.values()).item())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    kinds = ("loss_ce", "loss_mask", "loss_dice")
    assert sorted(losses) == sorted(f"{kind}{suffix}" for kind in kinds for suffix in ("", "_0", "_1"))
    assert totals[-1] < 0.5 * totals[0]
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_a_batch_without_masks_trains_the_classifier(model, caplog):
    model.train()
    model([training_record(64, 64, [])])
    losses = model([training_record(64, 64, [])])
    (told,) = [record.message for record in caplog.records if "no masks in this batch" in record.message]
    assert "such a step teaches that there is nothing" in told
    model.eval()
    assert losses["loss_mask"] == losses["loss_dice"] == 0 and losses["loss_ce"] > 0


def test_masks_are_resized_as_logits(model):
    """As Mask2Former evaluates itself: to the padded size, cropped, to the original size, then the sigmoid."""
    record = {"image": random_image(50, 70), "height": 100, "width": 130}
    with torch.no_grad():
        (prediction,) = model.infer([record], model.prepare(get_metadata("toy_panoptic_val")))
        pixels = (record["image"].float() - model.pixel_mean) / model.pixel_std
        (found,) = model.predict(F.pad(pixels, (0, 96 - 70, 0, 64 - 50))[None])
        full = F.interpolate(found.mask_logits, (64, 96), mode="bilinear", align_corners=False)[..., :50, :70]
        expected = F.interpolate(full, (100, 130), mode="bilinear", align_corners=False)[0].sigmoid()
    torch.testing.assert_close(prediction.masks.dense(), expected, atol=1e-5, rtol=1e-5)
    assert prediction.logits.shape == (6, 97)


def test_results_of_all_tasks(model):
    records = [{"image": random_image(32, 48, seed), "height": 40, "width": 60} for seed in range(2)]
    label = Labeller(
        model, model.prepare(get_metadata("toy_panoptic_val")), TaskInference(panoptic=True, instance=True)
    )
    with torch.no_grad():
        results = label(records)
        alone = label(records[1:])
    for result in results:
        assert result["sem_seg"].shape == (96, 40, 60) and result["panoptic_seg"][0].shape == (40, 60)
        assert result["instances"].pred_masks.shape[1:] == (40, 60)
        assert result["category_overlapping_mask"].sum() == 60
    torch.testing.assert_close(results[1]["sem_seg"], alone[0]["sem_seg"])


def test_test_classes_are_found_by_name(model):
    entries = [", ".join(names) for names in model.train_names]
    prepared = model.prepare(metadata(["no such thing", entries[7], entries[2]]))
    logits = torch.randn(4, 61)
    probabilities = logits.softmax(-1)
    found = to_test_logits(logits, prepared).exp()
    assert prepared.seen.tolist() == [False, True, True]
    torch.testing.assert_close(found[:, :3], torch.stack([torch.zeros(4), *probabilities[:, [7, 2]].T], dim=1))
    torch.testing.assert_close(found.sum(-1), torch.ones(4))
    assert torch.equal(to_test_logits(logits, model.prepare(metadata(entries))), logits)
    with pytest.raises(UserError, match=r"no class of DATASETS\.TEST"):
        model.prepare(metadata(["no such thing"]))


def test_class_agnostic():
    """NUM_CLASSES 1: whatever the labels, a mask is an object; masks are evaluated, not classes."""
    model = _model(MODEL__SEM_SEG_HEAD__NUM_CLASSES=1)
    batch = [training_record(64, 64, [3, 17], seed=1)]
    torch.manual_seed(0)
    losses = model.train()(batch)
    batch[0]["instances"].gt_classes[:] = 0
    torch.manual_seed(0)
    assert all(torch.equal(loss, losses[name]) for name, loss in model(batch).items())
    model.eval()
    vocabulary = get_metadata("toy_panoptic_val")
    with pytest.raises(UserError, match="finds objects without classes .*SEGMENTOR_ONLY True"):
        model.prepare(vocabulary)
    label = Labeller(model, model.prepare(vocabulary, only_masks=True), TaskInference(segmentor_only=True))
    with torch.no_grad():
        (found,) = label([{"image": random_image(32, 48), "height": 40, "width": 60}])
    assert found["pred_masks"].shape == (6, 40, 60)


def test_checkpoint_is_a_generator(model, tmp_path):
    """What is trained here is read as mask generator and as frozen encoder of MaskCLIP++, and gives the same masks."""
    Checkpointer(model, tmp_path).save("trained")
    path = tmp_path / "trained.pth"
    ours = "MODEL__MASKCLIPPP__"
    cfg = _config(
        **{
            f"{ours}VISUAL_ENCODER_F__NAME": "D2SwinTransformer",
            f"{ours}VISUAL_ENCODER_F__PRETRAINED": path,
            f"{ours}VISUAL_ENCODER_F__PIXEL_MEAN": [103.53, 116.28, 123.675],
            f"{ours}VISUAL_ENCODER_F__PIXEL_STD": [1.0, 1.0, 1.0],
            f"{ours}VISUAL_ENCODER_F__SIZE_DIVISIBILITY": 32,
            f"{ours}VISUAL_ENCODER_F__OUT_FEATURES": ["res2_f", "res3_f", "res4_f", "res5_f"],
            f"{ours}SEGMENTOR__NAME": "Mask2FormerSegmentor",
            f"{ours}SEGMENTOR__PRETRAINED": path,
            f"{ours}SEGMENTOR__IN_FEATURES": ["res2_f", "res3_f", "res4_f", "res5_f"],
            f"{ours}SEGMENTOR__TRANSFORMER_IN_FEATURES": ["res3_f", "res4_f", "res5_f"],
        }
    )
    torch.manual_seed(5)
    encoder = build_visual_encoder(cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F, cfg).eval()
    generator = build_mask_generator(cfg, encoder.output_shape())
    image = random_image(40, 64)
    with torch.no_grad():
        features = encoder([image]).features
        found = generator(GeneratorInput(records=[{"image": image}], sizes=[(40, 64)], features=features))
        transform = ImageTransform(tuple(cfg.MODEL.PIXEL_MEAN), tuple(cfg.MODEL.PIXEL_STD), size_divisibility=32)
        (expected,) = model.predict(transform([image])[0].pixels)
    torch.testing.assert_close(found.logits[0], expected.class_logits[0], atol=1e-5, rtol=1e-5)
    soft = F.interpolate(expected.mask_logits.sigmoid(), (64, 64), mode="bilinear", align_corners=False)[0, :, :40]
    torch.testing.assert_close(found.masks[0].dense(), soft, atol=1e-5, rtol=1e-5)


def test_checkpoints_of_others(model, tmp_path):
    """Old names of heads, a backbone with a classifier, and what was saved by a run, all fill the right parts."""
    state = {key: value + 1 for key, value in model.state_dict().items() if value.is_floating_point()}
    older = {key.replace("predictor.query_feat", "predictor.static_query"): value for key, value in state.items()}
    older = {key.replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): value for key, value in older.items()}
    alone = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    alone = {key: value for key, value in alone.items() if not key.startswith("norm")} | {"head.weight": torch.ones(2)}
    for weights, parts in ((state, ("",)), (older, ("",)), (alone, ("backbone.layers.", "backbone.patch_embed."))):
        torch.save({"model": weights}, tmp_path / "weights.pth")
        other = _model()
        Checkpointer(other).resume_or_load(str(tmp_path / "weights.pth"), resume=False)
        filled = {key: value for key, value in other.state_dict().items() if key.startswith(parts) and key in state}
        assert filled and all(torch.equal(value, state[key]) for key, value in filled.items())


def test_number_of_classes_is_checked():
    with pytest.raises(UserError, match=r"NUM_CLASSES is 59, but DATASETS\.TRAIN\[0\] has 60 classes"):
        _model(MODEL__SEM_SEG_HEAD__NUM_CLASSES=59)


def test_published_name():
    assert META_ARCH_REGISTRY.get("MaskFormer") is META_ARCH_REGISTRY.get("Mask2Former") is Mask2Former
