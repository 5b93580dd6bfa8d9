"""Models against the key lists of published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks.manifests import check_manifest, check_manifests
from maskclippp.data.datasets import register_all
from maskclippp.utils.errors import UserError

SMALL = "maskclippp_eva-clip-vit-b-16"
GENERATORS = {
    "fcclip_convnext-base": "302 read, 494 ignored (backbone.*, criterion.*)",
    "fcclip_convnext-large": "302 read, 544 ignored (backbone.*, criterion.*)",
    "maftp_base": "795 read, 502 ignored (backbone_t.*, cdt.*, criterion.*)",
    "maftp_large": "845 read, 552 ignored (backbone_t.*, cdt.*, criterion.*)",
    "maftp_large_pano": "845 read, 552 ignored (backbone_t.*, cdt.*, criterion.*)",
    "mask2former_r50": "557 read, 1 ignored (criterion.*)",
    "mask2former_swin-l": "649 read, 1 ignored (criterion.*)",
    "mask2former_swin-t": "481 read, 1 ignored (criterion.*)",
}


@pytest.fixture(scope="module")
def manifest(shared_dir: Path) -> dict:
    register_all()
    return json.loads((shared_dir / "manifests" / f"{SMALL}.json").read_text())


def verdict_on(manifest: dict, folder: Path) -> str:
    path = folder / "changed.json"
    path.write_text(json.dumps(manifest))
    return str(check_manifest(path))


def test_every_published_checkpoint_fits(shared_dir: Path) -> None:
    verdicts = {verdict.name: verdict for verdict in check_manifests(shared_dir / "manifests")}
    assert len(verdicts) == 9 + len(GENERATORS)
    assert [str(verdict) for verdict in verdicts.values() if verdict.verdict != "OK"] == []
    for name, summary in GENERATORS.items():
        assert verdicts[name].reason == summary


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("mask2former_swin-t", "backbone.layers.0."),
        ("mask2former_r50", "backbone.res2."),
        ("maftp_base", "backbone.clip_model.visual.trunk."),
        ("maftp_base", "void_embedding."),
    ],
)
def test_a_generators_key_too_much_too_little_or_of_another_shape(
    shared_dir: Path, tmp_path: Path, name: str, beginning: str
) -> None:
    content = json.loads((shared_dir / "manifests" / f"{name}.json").read_text())
    keys = content["keys"]
    place = next(place for place, (key, _, _) in enumerate(keys) if key.startswith(beginning))
    key, shape, dtype = keys[place]
    variants = [
        [*keys, [f"{beginning}extra", [1], "float32"]],
        [*keys[:place], *keys[place + 1 :]],
        [*keys[:place], [key, [*shape, 2], dtype], *keys[place + 1 :]],
    ]
    for number, variant in enumerate(variants):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content | {"keys": variant}))
        verdict = str(check_manifest(path))
        assert verdict.startswith(f"{name} FAIL")
        wanted = f"{beginning}extra" if number == 0 else key
        assert wanted.split(".", 3)[-1] in verdict  # parts name their keys without the checkpoint's beginning


def test_a_manifest_of_something_else_is_unsupported(manifest: dict, tmp_path: Path) -> None:
    assert "UNSUPPORTED" in verdict_on({key: manifest[key] for key in ("keys", "num_keys")}, tmp_path)


def test_a_key_too_much_too_little_or_of_another_shape_fails(manifest: dict, tmp_path: Path) -> None:
    keys = manifest["keys"]
    assert "unexpected (1): psm.extra" in verdict_on(
        manifest | {"keys": [*keys, ["psm.extra", [1], "float32"]]}, tmp_path
    )
    assert f"missing (1): {keys[0][0]}" in verdict_on(manifest | {"keys": keys[1:]}, tmp_path)
    reshaped = [[keys[0][0], [7, 7], "float32"], *keys[1:]]
    assert "mismatched (1)" in verdict_on(manifest | {"keys": reshaped}, tmp_path)


def test_another_set_of_trained_parameters_fails(manifest: dict, tmp_path: Path) -> None:
    fewer = manifest | {"trainable_parameters": manifest["trainable_parameters"][1:]}
    assert f"trains too much (1): {manifest['trainable_parameters'][0]}" in verdict_on(fewer, tmp_path)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no manifests"):
        check_manifests(tmp_path)
