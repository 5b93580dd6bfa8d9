"""Weight files that are damaged or made to harm: one line that names the file, bounded memory, no code."""

from __future__ import annotations

import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from maskclippp.utils.checkpoint_io import load_part, read_checkpoint
from maskclippp.utils.errors import UserError
from maskclippp.utils.open_clip_models import create_clip

ONE = torch.ones(2)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert path.name in text and "\n" not in text and "weights_only" not in text
    return text


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ({0: ONE}, "the key 0 is a int, not a name"),
        ({("a", 1): ONE}, "the key ('a', 1) is a tuple, not a name"),
        ({"a": [[1.0], [2.0, 3.0]]}, "'a' is a list, not a tensor"),
        ({"a": ONE.double()[0].item()}, "'a' is a float, not a tensor"),
        ({"a": torch.zeros(1).expand(10**6, 10**6)}, "claims 4000000000000 bytes in the shape (1000000, 1000000)"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is a tensor of another kind (torch.sparse_coo"),
        ({"a": torch.empty(10**6, 10**6, device="meta")}, "torch.float32, meta)"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "torch.complex64"),
        ({"k\n" * 5000: 5}, "... "),
    ],
)
@pytest.mark.parametrize("below", [True, False])
def test_what_is_no_tensor_by_name(tmp_path, weights, found, below):
    torch.save({"model": weights} if below else weights, tmp_path / "w.pth")
    assert found in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "array", [np.array([1, None], dtype=object), np.array(["a"]), np.zeros(2, ">f4,i4"), np.zeros(2, "M8[s]")]
)
def test_arrays_that_torch_does_not_know(tmp_path, array):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": array}}))
    assert f"'a' is an array of {array.dtype}" in refusal(tmp_path / "w.pkl")


def test_arrays_of_another_byte_order_are_read_as_they_are_meant(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": np.array([1.5, 2], dtype=">f4")}}))
    assert read_checkpoint(tmp_path / "w.pkl")["model"]["a"].tolist() == [1.5, 2]


def test_odd_strides_of_held_numbers_are_read(tmp_path):
    weights = {"t": torch.arange(6.0).reshape(2, 3).t(), "s": torch.ones(1).expand(2, 3), "e": torch.zeros(0, 10**9)}
    torch.save(weights, tmp_path / "w.pth")
    read = read_checkpoint(tmp_path / "w.pth")["model"]
    assert all(torch.equal(read[key], value) for key, value in weights.items())


def test_an_array_is_not_made_before_its_content_is_there(tmp_path):
    """A pickle may ask NumPy for any shape."""
    reconstruct = np.zeros(0).__reduce__()[0]
    for function, arguments in ((reconstruct, (np.ndarray, (1 << 31,), b"b")), (np.ndarray, ((1 << 31,),))):

        class Claim:
            def __reduce__(self, call=(function, arguments)):
                return call

        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": Claim()}}))
        tracemalloc.start()
        assert "refused, it is damaged" in refusal(tmp_path / "w.pkl")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
        tracemalloc.stop()


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path):
    torch.save({"model": {"a": ONE}}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        for name in good.namelist():
            content = bytes(200 << 20) if name.endswith("data/0") else good.read(name)
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "w.pth").stat().st_size < 1 << 20
    assert "it claims to hold 2097" in refusal(tmp_path / "w.pth")


def test_a_tar_archive_that_begins_like_a_pickle(tmp_path):
    with tarfile.open(tmp_path / "w.pth", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("\x80\x02"), None)
    assert (tmp_path / "w.pth").read_bytes().startswith(b"\x80\x02")
    assert "it is a tar archive" in refusal(tmp_path / "w.pth")


def header(content: object, length: int | None = None) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        header({}, 1 << 40),
        header({}, 2**64 - 1),
        header([]),
        header(b"[" * 50_000),
        header({"a": {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 0]}}),
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        header({"a": {"dtype": "X", "shape": [], "data_offsets": [0, 0]}}),
        header({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
        header({"__metadata__": {"a": 5}}),
        header(b'{"a":' + b"9" * 5000 + b"}"),
        b"<!DOCTYPE html><html></html>" + bytes(100),
    ],
)
def test_headers_of_safetensors(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    assert "not readable as a checkpoint" in refusal(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pkl", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"PK\x03\x04" + bytes(99), b"\x80\x02", bytes(99)])
def test_content_of_another_kind(tmp_path, suffix, content):
    (tmp_path / f"w{suffix}").write_bytes(content)
    refusal(tmp_path / f"w{suffix}")


def test_a_page_stored_as_weights_says_so(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"<!DOCTYPE html><html>")
    assert "(a page of a web site)" in refusal(tmp_path / "w.pth")
    with pytest.raises(UserError, match="is no file of weights: .*a page of a web site"):
        create_clip("toy-clip", str(tmp_path / "w.pth"))


def test_an_archive_of_a_program_gives_no_unsafe_advice(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    assert "(it is a program of TorchScript; save its state_dict() instead)" in refusal(tmp_path / "w.pt")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/dev/zero", "n" * 300 + ".pth", "d/" * 3000 + "w.pth", "w\0.pth"])
def test_paths_that_lead_to_no_file(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        create_clip("toy-clip", path)


@pytest.mark.parametrize("weights", [{0: ONE}, {"a": [1]}, [ONE], {}, {"state_dict": None}])
def test_weights_of_a_clip_model(tmp_path, weights):
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt\) cannot be loaded into toy-clip") as caught:
        create_clip("toy-clip", str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_a_part_that_does_not_fit_is_one_line(tmp_path):
    torch.save({f"a{number}\n": ONE for number in range(9)}, tmp_path / "w.pth")
    with pytest.raises(
        UserError, match=r"does not fit Linear; matched 0; missing 2 weight, bias; unexpected 9"
    ) as caught:
        load_part(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
