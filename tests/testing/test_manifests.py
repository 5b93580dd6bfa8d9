"""Models against the key lists of published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskclippp.data.datasets import register_all
from maskclippp.testing.manifests import check_manifest, check_manifests
from maskclippp.utils.errors import UserError

SMALL = "maskclippp_eva-clip-vit-b-16"


@pytest.fixture(scope="module")
def manifest(shared_dir: Path) -> dict:
    register_all()
    return json.loads((shared_dir / "manifests" / f"{SMALL}.json").read_text())


def verdict_on(manifest: dict, folder: Path) -> str:
    path = folder / "changed.json"
    path.write_text(json.dumps(manifest))
    return str(check_manifest(path))


def test_every_published_checkpoint_of_maskclippp_fits(shared_dir: Path) -> None:
    verdicts = {verdict.name: verdict for verdict in check_manifests(shared_dir / "manifests")}
    ours = {name: verdict for name, verdict in verdicts.items() if name.startswith("maskclippp_")}
    assert len(ours) == 9
    assert [str(verdict) for verdict in ours.values() if verdict.verdict != "OK"] == []
    assert verdicts["mask2former_r50"].verdict == "UNSUPPORTED"


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
