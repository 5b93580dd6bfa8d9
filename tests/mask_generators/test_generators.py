"""Masks from annotations and from files, on the grid that is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from maskclippp.config import default_config
from maskclippp.data.names import set_names
from maskclippp.data.run_length import encode_rle
from maskclippp.mask_generators import GeneratorInput, NoGenerator, build_mask_generator
from maskclippp.mask_generators.ground_truth import GTSegmentor, PanGTSegmentor
from maskclippp.mask_generators.offline import OfflineSegmentor
from maskclippp.utils.errors import UserError

LABELS = np.array([[7, 7, 2, 255], [7, 2, 2, 255]], dtype=np.uint8)


def record(folder, **more):
    return {
        "image": torch.zeros(3, 2, 4, dtype=torch.uint8),
        "height": 2,
        "width": 4,
        "file_name": str(folder / "image.jpg"),
        **more,
    }


def run(generator, *records, size=(2, 4), **more):
    found = generator(GeneratorInput(records=records, sizes=[size] * len(records), **more)).masks
    return [masks.dense() for masks in found]


@pytest.fixture
def label_file(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "labels.png")
    return str(tmp_path / "labels.png")


def test_ground_truth(tmp_path, label_file):
    (masks,) = run(GTSegmentor(), record(tmp_path, sem_seg_file_name=label_file))
    assert torch.equal(masks, torch.from_numpy(np.stack([LABELS == 2, LABELS == 7])).float())
    (masks,) = run(GTSegmentor(ignore_label=None), record(tmp_path, sem_seg_file_name=label_file))
    assert len(masks) == 3
    # What the dataset says counts.
    (masks,) = run(GTSegmentor(), record(tmp_path, sem_seg_file_name=label_file), ignore_label=7)
    assert torch.equal(masks, torch.from_numpy(np.stack([LABELS == 2, LABELS == 255])).float())


def test_ground_truth_on_another_grid(tmp_path, label_file):
    first, second = run(GTSegmentor(), *[record(tmp_path, sem_seg_file_name=label_file)] * 2, size=(6, 9))
    assert first.shape == second.shape == (2, 6, 9)
    assert 0 < float(first[0, 2, 4]) < 1  # soft edges


def test_ground_truth_of_nothing(tmp_path):
    Image.fromarray(np.full((2, 4), 255, dtype=np.uint8)).save(tmp_path / "empty.png")
    (masks,) = run(GTSegmentor(), record(tmp_path, sem_seg_file_name=str(tmp_path / "empty.png")), size=(5, 5))
    assert masks.shape == (0, 5, 5)


def test_ground_truth_needs_annotations(tmp_path):
    with pytest.raises(UserError, match="image.jpg: the record has no 'sem_seg_file_name', which GTSegmentor needs"):
        run(GTSegmentor(), record(tmp_path))
    with pytest.raises(UserError, match="no 'pan_seg_file_name', which PanGTSegmentor needs"):
        run(PanGTSegmentor(), record(tmp_path))
    with pytest.raises(UserError, match="missing.png"):
        run(GTSegmentor(), record(tmp_path, sem_seg_file_name=str(tmp_path / "missing.png")))


def test_panoptic_ground_truth_keeps_the_order_of_segments(tmp_path):
    ids = np.array([[300, 300, 5, 0], [300, 5, 5, 0]])
    rgb = np.stack([ids % 256, ids // 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "pan.png")
    segments = [{"id": 300, "category_id": 1, "iscrowd": 1}, {"id": 5, "category_id": 1}]
    full = record(tmp_path, pan_seg_file_name=str(tmp_path / "pan.png"), segments_info=segments)
    masks, nothing = run(PanGTSegmentor(), full, full | {"segments_info": []})
    assert torch.equal(masks, torch.from_numpy(np.stack([ids == 300, ids == 5])).float())
    assert nothing.shape == (0, 2, 4)


@pytest.fixture
def offline(tmp_path):
    return lambda suffix: OfflineSegmentor(source=str(tmp_path), suffix=suffix)


def test_offline_run_lengths(tmp_path, offline):
    wanted = np.stack([LABELS == 2, LABELS == 7])
    entries = [{"segmentation": rle} for rle in encode_rle(wanted)]
    (tmp_path / "image_masks.json").write_text(json.dumps(entries))
    (masks,) = run(offline("_masks.json"), record(tmp_path))
    assert torch.equal(masks, torch.from_numpy(wanted).float())


def test_offline_maps(tmp_path, offline):
    Image.fromarray(LABELS).save(tmp_path / "image.png")
    np.save(tmp_path / "image.npy", LABELS.astype(np.int64))
    wanted = torch.from_numpy(np.stack([LABELS == value for value in (2, 7, 255)])).float()
    for suffix in (".png", ".npy"):
        assert torch.equal(run(offline(suffix), record(tmp_path))[0], wanted)


def test_offline_empty_list_is_no_masks(tmp_path, offline):
    (tmp_path / "image.json").write_text("[]")
    (masks,) = run(offline(".json"), record(tmp_path), size=(6, 8))
    assert masks.shape == (0, 6, 8)


def test_offline_one_file_for_all_images(tmp_path):
    (rle,) = encode_rle((LABELS == 7)[None])
    (tmp_path / "all.json").write_text(json.dumps([{"file_name": "image.jpg", "segmentation": rle}]))
    generator = OfflineSegmentor(source=str(tmp_path / "all.json"))
    masks, nothing = run(generator, record(tmp_path), record(tmp_path) | {"file_name": "other.jpg"})
    assert torch.equal(masks, torch.from_numpy(LABELS == 7)[None].float())
    assert nothing.shape == (0, 2, 4)


def test_offline_masks_among_the_datasets(tmp_path, monkeypatch):
    (tmp_path / "masks").mkdir()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert OfflineSegmentor(source="masks").source == tmp_path / "masks"


def test_offline_messages(tmp_path, offline):
    with pytest.raises(UserError, match=r"image.jpg: its masks .*image.json are missing"):
        run(offline(".json"), record(tmp_path))
    np.save(tmp_path / "image.npy", np.zeros((3, 3), dtype=np.int64))
    with pytest.raises(UserError, match="image.npy: 3x3 .*, but its image is 2x4"):
        run(offline(".npy"), record(tmp_path))
    np.save(tmp_path / "image.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="image.npy: cannot be read"):
        run(offline(".npy"), record(tmp_path))
    with pytest.raises(UserError, match="OFFLINE_ANN_DIR '/no/such' is not a folder"):
        OfflineSegmentor(source="/no/such", suffix=".json")
    with pytest.raises(UserError, match="OFFLINE_ANN_DIR '' is not a folder"):
        OfflineSegmentor(source="", suffix=".json")


def test_built_from_a_config(tmp_path):
    cfg = default_config()
    node = cfg.MODEL.MASKCLIPPP.SEGMENTOR
    node.NAME = "none"
    assert isinstance(build_mask_generator(cfg), NoGenerator)
    node.NAME = "OfflineSegmentor"
    node.OFFLINE_ANN_DIR, node.OFFLINE_ANN_SUFFIX = str(tmp_path), ".png"
    assert build_mask_generator(cfg).suffix == ".png"
    node.NAME = "GTSegmenter"
    with pytest.raises(UserError, match="no mask generator is called 'GTSegmenter'; did you mean GTSegmentor"):
        build_mask_generator(cfg)


def test_offline_masks_of_equal_stems(tmp_path):
    """Below folders, or flat where a short name fits one image only; with the suffix where two differ in it."""
    pictures = ["seq1/1.jpg", "seq2/1.jpg", "seq2/2.jpg", "3.jpg", "3.png"]
    records = [record(tmp_path, file_name=str(tmp_path / "images" / name)) for name in pictures]
    set_names(records, str(tmp_path / "images"), "test")
    files = ["seq1/1", "seq2/1", "2", "3.jpg", "3.png"]
    for number, name in enumerate(files):
        path = tmp_path / f"masks/{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.arange(8).reshape(2, 4) // (number + 1))
    generator = OfflineSegmentor(source=str(tmp_path / "masks"), suffix=".npy")
    assert [len(masks) for masks in run(generator, *records)] == [8, 4, 3, 2, 2]
    np.save(tmp_path / "masks/1.npy", LABELS)
    (tmp_path / "masks/seq2/1.npy").unlink()
    with pytest.raises(UserError, match=r"seq2/1\.jpg: its masks .*masks/seq2/1\.npy are missing"):
        run(generator, records[1])
