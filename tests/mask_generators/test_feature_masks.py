"""Generators on features: batches, grids, text, and what never changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from torch import Tensor

from maskclippp.mask_generators import GeneratorInput, MaskGenerator, build_mask_generator
from maskclippp.structures import ClosedClasses, OpenClasses, TextBank
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder
from tests.common import random_image
from tests.mask_generators.tiny import SHAPES, STRIDES, TEXT_WIDTH, random_maps, random_text, scatter, tiny_config

WITH_TEXT = SHAPES | {"emb_f": ShapeSpec(channels=TEXT_WIDTH)}
PICTURES = [(70, 90), (96, 64), (64, 96), (96, 61)]  # unpadded; the second and the last have one padded size


def make(name: str, seed: int = 0) -> MaskGenerator:
    torch.manual_seed(seed)
    generator = build_mask_generator(tiny_config(name), WITH_TEXT)
    scatter(generator)
    return generator


@pytest.fixture(params=["Mask2FormerSegmentor", "FCCLIPSegmentor"])
def generator(request) -> MaskGenerator:
    return make(request.param)


def features_of(sizes: list[tuple[int, int]], first_seed: int = 0) -> dict[str, list[Tensor]]:
    """Features of pictures of these unpadded sizes, each on its own padded canvas."""
    maps = [
        random_maps(-(-height // 32) * 32, -(-width // 32) * 32, seed=first_seed + number)
        for number, (height, width) in enumerate(sizes)
    ]
    return {name: [picture[level][0] for picture in maps] for level, name in enumerate(STRIDES)}


def run(generator: MaskGenerator, sizes, features):
    text = random_text() if generator.needs_text else None
    return generator(GeneratorInput(records=[{} for _ in sizes], sizes=sizes, features=features, text=text))


def test_pictures_of_all_sizes_together_and_one_by_one(generator):
    features = features_of(PICTURES)
    together = run(generator, PICTURES, features)
    for number, size in enumerate(PICTURES):
        alone = run(generator, [size], {name: [maps[number]] for name, maps in features.items()})
        assert together.masks[number].shape == alone.masks[0].shape == (7, *size)
        torch.testing.assert_close(together.masks[number].dense(), alone.masks[0].dense(), rtol=0, atol=1e-5)
        torch.testing.assert_close(together.logits[number], alone.logits[0], rtol=0, atol=1e-5)


def test_pictures_through_encoder_and_generator_together_and_one_by_one():
    cfg = tiny_config()
    cfg.MODEL.SWIN.EMBED_DIM, cfg.MODEL.SWIN.DEPTHS, cfg.MODEL.SWIN.NUM_HEADS = 8, [1, 2, 1, 1], [1, 2, 2, 4]
    cfg.MODEL.SWIN.WINDOW_SIZE = 3
    node = cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F
    node.NAME, node.OUT_FEATURES, node.SIZE_DIVISIBILITY = "D2SwinTransformer", list(STRIDES), 32
    node.TEST_RESIZE_TYPE, node.TEST_IMAGE_SIZE = "short", 72
    torch.manual_seed(0)
    encoder = build_visual_encoder(node, cfg)
    generator = build_mask_generator(cfg, encoder.output_shape())
    scatter(generator)
    images = [random_image(40, 60, 1), random_image(90, 50, 2), random_image(64, 64, 3)]

    def propose(some):
        sizes = [encoder.transform.target_size(*image.shape[-2:]) for image in some]
        with torch.no_grad():
            return generator(GeneratorInput(records=[{} for _ in some], sizes=sizes, features=encoder(some).features))

    together = propose(images)
    for number, image in enumerate(images):
        alone = propose([image])
        torch.testing.assert_close(together.masks[number].dense(), alone.masks[0].dense(), rtol=0, atol=1e-5)
        torch.testing.assert_close(together.logits[number], alone.logits[0], rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_on_a_gpu_masks_and_logits_are_the_same(generator, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    features, text = features_of(PICTURES), random_text()
    wanted = generator(GeneratorInput(records=[{}] * 4, sizes=PICTURES, features=features, text=text))
    moved = {name: [feature.cuda() for feature in maps] for name, maps in features.items()}
    text = TextBank(text.embeddings.cuda(), text.class_index.cuda(), text.num_classes)
    found = generator.cuda()(GeneratorInput(records=[{}] * 4, sizes=PICTURES, features=moved, text=text))
    for ours, theirs in zip(found.logits, wanted.logits, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-3)
    for ours, theirs in zip(found.masks, wanted.masks, strict=True):
        torch.testing.assert_close(ours.dense().cpu(), theirs.dense(), rtol=1e-3, atol=1e-3)
    with torch.autocast("cuda", dtype=torch.float16):  # decisions of the attention may differ here
        mixed = generator(GeneratorInput(records=[{}] * 4, sizes=PICTURES, features=moved, text=text))
    assert all(logits.dtype == torch.float32 and bool(logits.isfinite().all()) for logits in mixed.logits)


def test_masks_are_resized_as_probabilities_to_the_padded_picture_and_cropped(generator):
    features = features_of([(70, 90)])
    found = run(generator, [(70, 90)], features)
    maps = [maps[0][None] for maps in features.values()]
    (predictions,) = generator.sem_seg_head(maps, generator.class_texts(random_text()))
    wanted = F.interpolate(predictions.mask_logits.sigmoid(), size=(96, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.masks[0].dense(), wanted[0, :, :70, :90], rtol=0, atol=1e-5)
    assert torch.equal(found.logits[0], predictions.class_logits[0])


def test_sides_that_the_strides_do_not_divide(generator):
    """Without padding the finest map of 70 x 91 pixels is 17 x 22; its masks still cover the whole picture."""
    features = {
        name: [maps[0][:, : 70 // STRIDES[name], : 91 // STRIDES[name]]]
        for name, maps in features_of([(70, 91)]).items()
    }
    (masks,) = run(generator, [(70, 91)], features).masks
    assert masks.dense().shape == (7, 70, 91)


def test_no_pictures(generator):
    found = run(generator, [], {name: [] for name in STRIDES})
    assert found.masks == [] and found.logits == []


def test_it_is_frozen_and_stays_in_evaluation_mode(generator):
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    generator.train()
    assert not any(module.training for module in generator.modules())
    assert not run(generator, [(64, 64)], features_of([(64, 64)])).logits[0].requires_grad


def test_closed_and_open():
    closed, open_ = make("Mask2FormerSegmentor"), make("FCCLIPSegmentor")
    assert (closed.classes, closed.needs_text) == (ClosedClasses(5), False)
    assert (open_.classes, open_.needs_text) == (OpenClasses(), True)
    features = features_of([(64, 64)])
    assert run(closed, [(64, 64)], features).logits[0].shape == (7, 5 + 1)
    assert run(open_, [(64, 64)], features).logits[0].shape == (7, 3 + 1)


def test_void_is_a_class_of_its_own_vector():
    generator = make("FCCLIPSegmentor")
    text = random_text((2, 1))
    texts = generator.class_texts(text)
    assert texts.num_classes == 3 and texts.class_index.tolist() == [0, 0, 1, 2]
    assert torch.equal(texts.embeddings[:3], text.embeddings)
    assert torch.allclose(texts.embeddings[3, 0], F.normalize(generator.void_embedding.weight[0], dim=0))


@pytest.mark.parametrize(("found", "said"), [(None, "none"), (random_text(), r"\(6, 1, 20\)")])
def test_text_of_another_clip(found, said):
    torch.manual_seed(0)
    shapes = SHAPES | {"emb_f": ShapeSpec(channels=12)}
    generator = build_mask_generator(tiny_config("FCCLIPSegmentor"), shapes)
    with pytest.raises(UserError, match=f"one vector of 12 numbers per name, but got {said}; TEXT_ENCODER_F must be"):
        generator(GeneratorInput(records=[{}], sizes=[(64, 64)], features=features_of([(64, 64)]), text=found))


def test_features_are_taken_by_name_in_the_order_of_strides():
    cfg = tiny_config()
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.IN_FEATURES = ["res5_f", "res2_f", "res4_f", "res3_f"]
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.TRANSFORMER_IN_FEATURES = ["res4_f", "res5_f", "res3_f"]
    generator = build_mask_generator(cfg, SHAPES)
    assert generator.sem_seg_head.in_features == tuple(STRIDES)
    assert generator.stride == 4


def refused(options: list, shapes=WITH_TEXT, name: str = "Mask2FormerSegmentor") -> str:
    cfg = tiny_config(name)
    cfg.merge_from_list(options)
    with pytest.raises(UserError) as error:
        build_mask_generator(cfg, shapes)
    return str(error.value)


def test_configs_that_do_not_fit():
    segmentor = "MODEL.MASKCLIPPP.SEGMENTOR"
    message = refused([f"{segmentor}.IN_FEATURES", ["stage1_f", "res3_f", "res4_f", "res5_f"]])
    assert "IN_FEATURES 'stage1_f' is not among the features of" in message and "res2_f" in message
    message = refused([f"{segmentor}.TRANSFORMER_IN_FEATURES", ["res2_f", "res3_f"]])
    assert "(res2_f, res3_f) must be the coarsest of IN_FEATURES (res2_f, res3_f, res4_f, res5_f)" in message
    assert "(none) must be" in refused([f"{segmentor}.TRANSFORMER_IN_FEATURES", []])
    assert "PRE_NORM True" in refused(["MODEL.MASK_FORMER.PRE_NORM", True])
    message = refused(["MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME", "none"], name="FCCLIPSegmentor")
    assert "FCCLIPSegmentor classifies by names" in message and "TEXT_ENCODER_F" in message
    options = ["MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME", "D2SwinTransformer"]
    message = refused(options, SHAPES, "FCCLIPSegmentor")
    assert "works on a CLIP, and VISUAL_ENCODER_F.NAME D2SwinTransformer is none" in message
