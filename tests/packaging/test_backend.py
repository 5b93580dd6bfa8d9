"""The build backend takes one known sdist, refuses everything else in words, and yields a pure-Python wheel."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest


def test_tampered_sdist_is_refused(backend, tmp_path, monkeypatch):
    tampered = tmp_path / "pb1-detectron2-0.6.tar.gz"
    tampered.write_bytes(b"something else")
    monkeypatch.setenv(backend.SDIST_VARIABLE, str(tampered))
    with pytest.raises(SystemExit) as refusal:
        backend.build_wheel(str(tmp_path / "wheels"))
    message = str(refusal.value)
    assert message.startswith(f"detectron2: {tampered}: SHA-256 is ")
    assert f"expected {backend.SHA256}" in message and "nothing was built" in message
    assert not (tmp_path / "wheels").exists()


def test_one_changed_byte_is_refused(backend, sdist, tmp_path):
    content = bytearray(sdist.read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.tar.gz").write_bytes(content)
    backend.check_hash(sdist)
    with pytest.raises(backend.BuildError, match="SHA-256"):
        backend.check_hash(tmp_path / "changed.tar.gz")


def test_named_sdist_must_exist(backend, tmp_path, monkeypatch):
    monkeypatch.setenv(backend.SDIST_VARIABLE, str(tmp_path / "absent.tar.gz"))
    with pytest.raises(backend.BuildError, match=r"absent\.tar\.gz: no such file; unset it"):
        backend.find_sdist(tmp_path)


@pytest.mark.parametrize("version, accepted", [("25.3", True), ("26.0.1", True), ("26.1", False), ("27.0", False)])
def test_newer_pip_is_refused(backend, monkeypatch, version, accepted):
    monkeypatch.setattr(backend.importlib.metadata, "version", lambda name: version)
    if accepted:
        return backend.check_tools()
    with pytest.raises(backend.BuildError, match=rf"pip {version} refuses .* 'pip<=26\.0'"):
        backend.check_tools()


def test_torch_must_be_visible(backend, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(backend.BuildError, match="torch is not visible.*--no-build-isolation"):
        backend.check_tools()


def test_download_asks_pip_for_the_known_hash_and_reports_its_words(backend, tmp_path, monkeypatch):
    seen = {}

    def fake_run(command, **options):
        seen.update(command=command, env=options["env"])
        return SimpleNamespace(returncode=1, stdout="ERROR: no route to the index")

    monkeypatch.setattr(backend.subprocess, "run", fake_run)
    monkeypatch.setattr(backend, "check_tools", lambda: None)
    monkeypatch.setenv("_PYPROJECT_HOOKS_BACKEND_PATH", "third_party/detectron2")
    with pytest.raises(backend.BuildError, match=rf"(?s)set {backend.SDIST_VARIABLE}=FILE.*no route to the index"):
        backend.download(tmp_path)
    assert {"--require-hashes", "--no-deps", "--no-build-isolation"} <= set(seen["command"])
    assert f"--hash=sha256:{backend.SHA256}" in (tmp_path / "requirements.txt").read_text()
    assert not any(name.startswith("_PYPROJECT_HOOKS_") for name in seen["env"])


def test_wheel_is_pure_python_and_complete(backend, edits, build_folder, sdist, tmp_path, monkeypatch):
    monkeypatch.setenv(backend.SDIST_VARIABLE, str(sdist))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tmp_path, build_folder], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"detectron2-{edits.VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(f"detectron2-{edits.VERSION}.dist-info/METADATA"))
    assert not [name for name in names if name.endswith((".so", ".cpp", ".cu", ".pyc"))]
    assert "detectron2/projects/point_rend/color_augmentation.py" in names
    assert "detectron2/model_zoo/configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml" in names
    requirements = metadata.get_all("Requires-Dist")
    assert "black" in requirements and "iopath>=0.1.7" in requirements
    assert not [line for line in requirements if line.startswith("future") or " @ " in line]
