"""Annotation and picture files: values read, and what is said about wrong files."""

from __future__ import annotations

import json
import struct
import subprocess

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, TiffImagePlugin
from pycocotools import mask as coco_mask

from maskclippp.data import images
from maskclippp.data.annotations import read_json, read_label_map, read_panoptic_ids
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.images import decode, read_image
from maskclippp.data.mask_files import read_masks
from maskclippp.data.run_length import decode_rle
from maskclippp.utils.errors import UserError

IDS = np.array([[0, 5, 256], [70000, 70000, 5]], dtype=np.int64)


def _rgb(ids: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8))


def _rle(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def test_label_maps_of_8_and_16_bits(tmp_path) -> None:
    Image.fromarray(np.array([[0, 3], [255, 1]], np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 846], [65535, 1]], np.uint16)).save(tmp_path / "a.tif")
    small = read_label_map(tmp_path / "a.png", size_hw=(2, 2), num_classes=4, ignore_label=255)
    assert small.tolist() == [[0, 3], [255, 1]]
    large = read_label_map(tmp_path / "a.tif", num_classes=847, ignore_label=65535)
    assert large.tolist() == [[0, 846], [65535, 1]] and large.dtype == np.int32


def test_palette_label_map_gives_indices(tmp_path) -> None:
    image = Image.new("P", (2, 2))
    image.putdata([0, 3, 2, 1])
    image.putpalette([9, 9, 9] * 4)
    image.save(tmp_path / "p.png")
    assert read_label_map(tmp_path / "p.png").tolist() == [[0, 3], [2, 1]]


def test_label_map_errors(tmp_path) -> None:
    Image.fromarray(np.array([[0, 7], [200, 1]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: label 7, 200 in 2 pixels; expected 0 to 3 or 255"):
        read_label_map(tmp_path / "a.png", num_classes=4, ignore_label=255)
    with pytest.raises(UserError, match=r"a\.png: 2x2 .* its image is 3x2"):
        read_label_map(tmp_path / "a.png", size_hw=(3, 2))
    _rgb(IDS).save(tmp_path / "rgb.png")
    with pytest.raises(UserError, match=r"one channel, this file has 3"):
        read_label_map(tmp_path / "rgb.png")


def test_panoptic_ids(tmp_path) -> None:
    _rgb(IDS).save(tmp_path / "p.png")
    assert read_panoptic_ids(tmp_path / "p.png", size_hw=(2, 3)).tolist() == IDS.tolist()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="mode L"):
        read_panoptic_ids(tmp_path / "grey.png")


def test_masks_of_maps(tmp_path) -> None:
    _rgb(IDS).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", IDS)
    expected = IDS[None] == np.array([0, 5, 256, 70000])[:, None, None]
    for name in ("m.png", "m.npy"):
        masks = read_masks(tmp_path / name)
        assert masks.dtype == bool and (masks == expected).all()
    Image.fromarray(np.array([[4, 4], [4, 9]], np.uint8)).save(tmp_path / "grey.png")
    assert read_masks(tmp_path / "grey.png").sum((1, 2)).tolist() == [3, 1]


def test_masks_of_rle_list(tmp_path) -> None:
    masks = np.random.RandomState(0).rand(3, 5, 7) > 0.5
    masks[1] = False
    (tmp_path / "m.json").write_text(json.dumps([{"segmentation": _rle(mask)} for mask in masks]))
    assert (read_masks(tmp_path / "m.json", size_hw=(5, 7)) == masks).all()
    assert (decode_rle({"size": [2, 3], "counts": [1, 2, 3]}, "here") == [[0, 1, 0], [1, 0, 0]]).all()


def test_empty_mask_list(tmp_path) -> None:
    (tmp_path / "m.json").write_text("[]")
    assert read_masks(tmp_path / "m.json", size_hw=(5, 7)).shape == (0, 5, 7)
    with pytest.raises(UserError, match="empty and the image size is not known"):
        read_masks(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"m\.json: cannot be read as JSON: .* line 1 column 2"),
        ("{}", "expected a list .* found dict without 'annotations'"),
        ("7", "expected a list .* found int"),
        ('[{"mask": 1}]', "entry 0: not a COCO run-length encoding"),
        ('[{"segmentation": {"size": [2, 3], "counts": [1, 2]}}]', "entry 0: broken .* add up to 3, not to 2x3"),
        ('[{"segmentation": {"size": [2, 3], "counts": "zzzzzz"}}]', "entry 0: broken run-length encoding"),
        ('[{"segmentation": {"size": [100000, 100000], "counts": "0"}}]', "entry 0: not a COCO"),
        ('[{"segmentation": {"size": [2, 3], "counts": [6]}}]', "entry 0: 2x3 .* its image is 4x3"),
    ],
)
def test_broken_mask_lists(tmp_path, content: str, message: str) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_masks(tmp_path / "m.json", size_hw=(4, 3))


def test_masks_of_different_sizes(tmp_path) -> None:
    entries = [{"segmentation": _rle(np.ones((2, 3)))}, {"segmentation": _rle(np.ones((3, 2)))}]
    (tmp_path / "m.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match="entry 1: 3x2"):
        read_masks(tmp_path / "m.json")


def test_broken_arrays(tmp_path) -> None:
    np.save(tmp_path / "f.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(UserError, match=r"f\.npy: expected a 2-D .* found shape \(2, 2\) of float32"):
        read_masks(tmp_path / "f.npy")
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read as a NumPy array"):
        read_masks(tmp_path / "o.npy")
    np.save(tmp_path / "n.npy", np.arange(250_000).reshape(500, 500))
    with pytest.raises(UserError, match="250000 masks of 500x500 are too many"):
        read_masks(tmp_path / "n.npy")
    with pytest.raises(UserError, match=r"read from \.json, \.png, \.npy, not from '\.txt'"):
        read_masks(tmp_path / "n.txt")


@pytest.mark.parametrize("read", [read_image, read_label_map, read_masks, read_json])
def test_missing_file(tmp_path, read) -> None:
    with pytest.raises(UserError, match=r"absent\.png: no such file"):
        read(tmp_path / "absent.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.5, 0.95])
def test_truncated_pictures(tmp_path, suffix: str, keep: float) -> None:
    path = tmp_path / f"t.{suffix}"
    noise = np.random.RandomState(0).randint(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=rf"t\.{suffix}: cannot be read as an image \(\d+ bytes\)"):
        read_image(path)


def test_pictures_come_upright_in_the_asked_order(tmp_path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (250, 10, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 2, 3) and image[0, 1].tolist() == [250, 10, 60]
    assert read_image(tmp_path / "a.png", "BGR")[0, 1].tolist() == [60, 10, 250]
    with pytest.raises(UserError, match="image format 'HSV'"):
        read_image(tmp_path / "a.png", "HSV")


def test_grey_pictures_and_size_bound(tmp_path, monkeypatch) -> None:
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "g.png")
    assert (read_image(tmp_path / "g.png") == 7).all()
    monkeypatch.setattr(images, "MAX_PIXELS", 19)
    with pytest.raises(UserError, match=r"g\.png: 5x4 pixels, at most 19"):
        read_image(tmp_path / "g.png")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big.tif", "white.tif", "a.pgm", "a.jp2"])
def test_grey_of_16_bits_is_scaled(tmp_path, name: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0  # 0 is white
    if name == "big.tif":
        Image.frombytes("I;16B", (256, 256), values.astype(">u2").tobytes()).save(tmp_path / name)
    elif name == "white.tif":
        Image.fromarray(65535 - values).save(tmp_path / name, tiffinfo=tags)
    elif name == "a.pgm":
        (tmp_path / name).write_bytes(b"P5 256 256 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image == np.rint(values / 257)[..., None]).all()
    assert len(np.unique(image)) == 256


def test_16_bits_whatever_pillow_calls_them(tmp_path, monkeypatch) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    picture = Image.fromarray(values.astype(np.int32))
    picture.format = "PNG"  # as Pillow before version 11 opens it
    monkeypatch.setattr(images, "decode", lambda path: picture)
    assert images.read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_grey_of_12_bits_is_scaled(tmp_path) -> None:
    entries = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 110, 278: 1, 279: 3}
    fields = b"".join(struct.pack("<HHII", number, 3, 1, value) for number, value in entries.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(head + bytes([0xFF, 0xF8, 0x00]))  # 4095 and 2048
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 128]


def test_grey_of_16_bits_is_turned(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 257, 514], [65535, 32768, 1028]], np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == [[255, 0], [128, 1], [4, 2]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70000]], np.int32), "signed or 32-bit whole numbers"),
        (np.array([[0.0, 1.0]], np.float32), "floating-point numbers"),
    ],
)
def test_grey_without_a_white_is_refused(tmp_path, values, message: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif: its grey values are {message}, of unknown white; scale") as error:
        read_image(tmp_path / "a.tif")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mode", "suffix", "expected"),
    [
        ("1", "png", (255, 255, 255)),
        ("LA", "png", (90, 90, 90)),
        ("PA", "tif", (9, 8, 7)),
        ("CMYK", "tif", (200, 30, 90)),
        ("YCbCr", "tif", (200, 30, 90)),
        ("LAB", "tif", (119, 119, 119)),
        ("RGBA", "png", (200, 30, 90)),
    ],
)
def test_other_modes(tmp_path, mode: str, suffix: str, expected: tuple[int, int, int]) -> None:
    colour = {"1": 1, "LA": (90, 0), "PA": (0, 0), "RGBA": (200, 30, 90, 0), "LAB": (127, 128, 128)}.get(mode)
    red = Image.new("RGB", (4, 4), (200, 30, 90))
    picture = red.convert(mode) if colour is None else Image.new(mode, (4, 4), colour)
    if mode == "PA":
        picture.putpalette([9, 8, 7] * 4)
    picture.save(tmp_path / f"a.{suffix}")
    assert decode(tmp_path / f"a.{suffix}").mode == mode
    assert abs(read_image(tmp_path / f"a.{suffix}").astype(int) - expected).max() <= 2


@pytest.mark.parametrize("read", [read_image, read_label_map, read_panoptic_ids, image_size_hw])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps", "a.tif"])
def test_postscript_is_never_run(tmp_path, monkeypatch, read, name: str) -> None:
    def run(*_, **__):
        raise AssertionError("another program is started")

    for starter in ("Popen", "call", "check_call", "run"):
        monkeypatch.setattr(subprocess, starter, run)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match=r"none of the formats PNG, JPEG, .*; make or copy it again"):
        read(tmp_path / name)


def test_pictures_are_opened_in_one_place(root_dir) -> None:
    opened = [
        f"{path.relative_to(root_dir)}: {line.strip()}"
        for folder in ("maskclippp", "tools", "datasets")
        for path in sorted((root_dir / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if "Image.open(" in line and "formats=" not in line
    ]
    assert not opened


def test_label_maps_of_other_numbers_say_what_they_hold(tmp_path) -> None:
    Image.fromarray(np.zeros((2, 3), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif: its values are floating-point numbers"):
        read_label_map(tmp_path / "float.tif")
