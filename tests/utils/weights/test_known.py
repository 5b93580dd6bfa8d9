"""Weights by name: the table against configs and open_clip, places, copies made by hand, and no connection."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from maskclippp.utils.checkpoint_io import read_checkpoint
from maskclippp.utils.errors import UserError
from maskclippp.utils.open_clip_models import create_clip, eva_model_name, eva_pretrained
from maskclippp.utils.weights import KNOWN, ensure_weights, fetch, find_clip_weights, known_file, without_weights
from maskclippp.utils.weights.listing import local_file, table

TAG = "laion_aesthetic-s13B-b82K-augreg"


@pytest.fixture
def empty_world(tmp_path, monkeypatch):
    """A working folder and a hub cache with nothing in them, and no connection."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_every_weight_of_the_published_configs_is_known(shared_dir):
    published = json.loads((shared_dir / "spec" / "published_configs.json").read_text())["configs"]
    for path, values in published.items():
        for key, value in values.items():
            if key.endswith(("LOAD_FROM", "PRETRAINED")) and value.startswith("output/"):
                assert str(known_file(value).place) == value, (path, key)
            elif key.endswith(".PRETRAINED"):
                model = eva_model_name(values[key.replace("PRETRAINED", "MODEL_NAME")])
                facts = open_clip.get_pretrained_cfg(model, eva_pretrained(model, value))
                known = [open_clip.get_pretrained_cfg(*file.clip) for file in KNOWN.values() if file.clip]
                assert facts in known, (path, key)
        if len(Path(path).parts) == 4:
            assert f"{Path(path).stem}.pth" in KNOWN


def test_every_tag_of_open_clip_is_on_the_hub():
    for model, tag in open_clip.list_pretrained():
        weights = find_clip_weights(model, tag)
        assert weights.repository.count("/") == 1 and all(weights.files)


def test_names_are_unique_also_without_folders():
    names = [file.place.name for file in KNOWN.values()]
    assert len(set(names)) == len(names) == 25


def test_table_tells_place_size_and_presence(empty_world):
    file = KNOWN["maftp_b.pth"]
    before = table()
    assert "Mask generators (0 of 7 here)" in before
    assert "missing   ~1.52 GB  maftp_b.pth\n" in before and "to output/ckpts/maftp/maftp_b.pth\n" in before
    file.place.parent.mkdir(parents=True)
    file.place.write_bytes(bytes(20_000_000))
    assert local_file(file) == file.place
    assert "Mask generators (1 of 7 here)" in table() and "present    0.02 GB  maftp_b.pth\n" in table()


def test_a_known_file_comes_to_the_path_that_asks_for_it(web, tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN, "weights.pth", _with_url(web.url))
    elsewhere = tmp_path / "elsewhere" / "weights.pth"
    assert ensure_weights(elsewhere) == elsewhere and elsewhere.read_bytes() == web.content
    assert ensure_weights(tmp_path / "unknown.pth") == tmp_path / "unknown.pth"
    assert len(web.ranges) == 1


def _with_url(url: str):
    return replace(KNOWN["maftp_b.pth"], name="weights.pth", place=Path("weights.pth"), url=url, drive_id="")


def test_a_file_without_address_says_where_it_goes(empty_world):
    path = "output/ckpts/maskclippp/maskclippp_coco-pan_clip-rn50x16.pth"
    with pytest.raises(UserError, match=rf"has no known address: get it from their page and put it at {path}"):
        read_checkpoint(path)


def test_a_mirror_is_used_when_named(web, empty_world):
    file = KNOWN["maskclippp_coco-pan_clip-rn50x16.pth"]
    assert fetch(file, url=web.url) == file.place and file.place.read_bytes() == web.content


def test_clip_weights_without_connection_name_tag_file_and_place(empty_world):
    with pytest.raises(UserError) as caught:
        create_clip("convnext_base_w_320", TAG)
    text = str(caught.value)
    assert text.startswith(f"the weights '{TAG}' of convnext_base_w_320 cannot be downloaded (no connection)")
    assert "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K-augreg on the Hugging Face hub" in text
    assert "output/ckpts/clip/convnext_base_w_320-laion_aesthetic_s13b_b82k_augreg.safetensors" in text
    assert "\n" not in text


def test_unknown_tag_names_the_tags_there_are(empty_world):
    message = "PRETRAINED 'openia' is neither a file nor a tag of RN50: RN50 has openai, yfcc15m, cc12m"
    with pytest.raises(UserError, match=message):
        create_clip("RN50", "openia")
    with without_weights(), pytest.raises(UserError, match=message):
        create_clip("RN50", "openia")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_a_copy_made_by_hand_is_found(empty_world, suffix):
    weights = find_clip_weights("RN50", "openai")
    copy = weights.place.with_suffix(suffix)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"x")
    assert weights.fetch() == copy
    with pytest.raises(UserError, match=rf"the weights PRETRAINED 'openai' .{copy}. cannot be loaded into RN50"):
        create_clip("RN50", "openai")


def test_the_second_file_of_a_repository_counts_when_the_first_is_not_there(empty_world, monkeypatch):
    asked = []

    def hub(repository: str, name: str) -> str:
        asked.append((repository, name))
        if name.endswith(".safetensors"):
            raise EntryNotFoundError(name)
        return f"/cache/{name}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    assert find_clip_weights("RN50", "openai").fetch() == Path("/cache/open_clip_pytorch_model.bin")
    assert [name for _, name in asked] == ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


def test_without_connection_the_second_file_is_not_tried(empty_world, monkeypatch):
    asked = []

    def hub(repository: str, name: str) -> str:
        asked.append(name)
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    with pytest.raises(UserError, match="no connection"):
        find_clip_weights("RN50", "openai").fetch()
    assert asked == ["open_clip_model.safetensors"]


def run_tool(monkeypatch, root_dir, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["download_weights.py", *arguments])
    runpy.run_path(str(root_dir / "tools" / "download_weights.py"), run_name="__main__")


def test_the_command_lists_and_downloads(web, empty_world, root_dir, monkeypatch, capsys):
    run_tool(monkeypatch, root_dir, "--list")
    listed = capsys.readouterr().out
    assert all(name in listed for name in KNOWN)
    run_tool(monkeypatch, root_dir, "maskclippp_coco-pan_clip-rn50x16.pth", "--url", web.url)
    place = Path(capsys.readouterr().out.strip())
    assert place == KNOWN["maskclippp_coco-pan_clip-rn50x16.pth"].place and place.read_bytes() == web.content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["maftp_x.pth"], "error: no known file is called 'maftp_x.pth'; did you mean maftp_"),
        (
            ["maskclippp_coco-pan_clip-rn50x16.pth"],
            "error: maskclippp_coco-pan_clip-rn50x16.pth (MaskCLIP++ authors) has",
        ),
    ],
)
def test_the_command_refuses_in_one_line(empty_world, root_dir, monkeypatch, arguments, message):
    with pytest.raises(SystemExit) as caught:
        run_tool(monkeypatch, root_dir, *arguments)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
