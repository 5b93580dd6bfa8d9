"""Pictures made ready: normalised, resized with their masks, padded, grouped."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from maskclippp.structures import ImageBatch, ImageTransform, MaskSet, ResampledMasks, TextBank
from maskclippp.structures.image_batch import resize_maps
from tests.common import random_image, rectangle_masks, tiny_transform


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (50, 70)),
        ({"resize_type": "short", "size": 20}, (20, 28)),
        ({"resize_type": "short", "size": 33}, (33, 46)),  # 46.2 is floored
        ({"resize_type": "square", "size": 24}, (24, 24)),
        ({"resize_type": "rel", "scale": 0.5}, (25, 35)),
    ],
)
def test_target_size(options, expected):
    assert tiny_transform(**options).target_size(50, 70) == expected


def test_shorter_side_may_be_the_width():
    assert tiny_transform(resize_type="short", size=20).target_size(70, 50) == (28, 20)


def test_unknown_resize_type():
    with pytest.raises(ValueError, match="'long' is none of none, short, square, rel"):
        tiny_transform(resize_type="long")


def test_normalised_and_padded_with_zeros():
    image = random_image(20, 33)
    (batch,) = ImageTransform((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), size_divisibility=16)([image])
    assert batch.pixels.shape == (1, 3, 32, 48)
    expected = (image.float() - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) / torch.tensor([4.0, 5.0, 6.0]).view(
        3, 1, 1
    )
    torch.testing.assert_close(batch.pixels[0, :, :20, :33], expected)
    assert batch.pixels[0, :, 20:].abs().max() == batch.pixels[0, :, :, 33:].abs().max() == 0
    assert batch.sizes == [(20, 33)]


def test_pictures_are_grouped_by_padded_size():
    images = [random_image(20, 20), random_image(40, 40), random_image(30, 25)]
    masks = [rectangle_masks(count, 40, 40) for count in (2, 0, 1)]
    small, large = tiny_transform(size_divisibility=32)(images, masks)
    assert (small.index, large.index) == ([0, 2], [1])
    assert [len(picture) for picture in small.masks] == [2, 1]
    assert large.masks[0].shape == (0, 64, 64)


def test_masks_are_resized_bilinearly_from_any_grid():
    masks = rectangle_masks(2, 40, 60)
    (batch,) = tiny_transform(resize_type="square", size=32)([random_image(80, 80)], [masks.bool()])
    expected = F.interpolate(masks[None], size=(32, 32), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(batch.masks[0].dense(), expected)


def test_as_many_masks_as_pictures():
    with pytest.raises(ValueError, match="2 images but 1 tensors of masks"):
        tiny_transform()([random_image(8, 8)] * 2, [rectangle_masks(1, 8, 8)])


def test_the_order_of_steps_is_declared():
    """Padded, then squeezed; masks keep the grid of the padded picture."""
    image, masks = random_image(20, 40), rectangle_masks(2, 20, 40)
    options = {"resize_type": "square", "size": 24, "size_divisibility": 32, "interpolation": "bicubic"}
    transform = tiny_transform(**options, order=("pad", "resize", "normalise"), resize_masks=False)
    (batch,) = transform([image], [masks])
    padded = F.pad(image.float(), (0, 24, 0, 12))
    small = F.interpolate(padded[None], size=(24, 24), mode="bicubic", align_corners=False)[0]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (transform.pixel_mean, transform.pixel_std))
    torch.testing.assert_close(batch.pixels[0], (small - mean) / std)
    torch.testing.assert_close(batch.masks[0].dense(), F.pad(masks, (0, 24, 0, 12)))
    assert batch.sizes == [(15, 15)]
    with pytest.raises(ValueError, match="is no order of normalise, resize, pad"):
        tiny_transform(order=("pad", "resize"))


def test_the_input_of_masqclip(shared_dir):
    """Bicubic to a square, whatever the aspect ratio, then CLIP's mean and deviation."""
    tensors = load_file(shared_dir / "golden" / "masqclip_visual.safetensors")
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    transform = ImageTransform(
        *(tuple(255 * part for part in each) for each in (mean, std)),
        resize_type="square", size=56, size_divisibility=32, interpolation="bicubic",
        order=("pad", "resize", "normalise"),
    )  # fmt: skip
    (batch,) = transform(list(tensors["in/image"]))
    torch.testing.assert_close(batch.pixels, tensors["out/clip_input"], atol=1e-4, rtol=1e-4)


def test_aligned_corners():
    masks = rectangle_masks(2, 9, 13)
    expected = F.interpolate(masks[None], size=(20, 31), mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(ResampledMasks.of(masks).resize((20, 31), "bilinear_aligned").dense(), expected)


def test_resizing_nothing():
    assert resize_maps(torch.zeros(0, 5, 5), (9, 4)).shape == (0, 9, 4)


def test_structures_are_checked_when_made():
    with pytest.raises(ValueError, match="1 pictures with 0 mask tensors"):
        ImageBatch(torch.zeros(1, 3, 8, 8), masks=[], sizes=[(8, 8)], index=[0])
    with pytest.raises(ValueError, match="masks of image 1"):
        MaskSet([torch.zeros(1, 2, 2), torch.zeros(2, 2)])
    with pytest.raises(ValueError, match=r"masks per image \[2\], but logits per image \[3\]"):
        MaskSet([torch.zeros(2, 4, 4)], [torch.zeros(3, 5)])
    with pytest.raises(ValueError, match="not .Ka, T, D."):
        TextBank(torch.zeros(3, 4), torch.zeros(3), 3)
