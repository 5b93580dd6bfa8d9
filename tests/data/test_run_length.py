"""Run-length encoding against pycocotools, and damaged text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from maskclippp.data.run_length import decode_rle, encode_rle
from maskclippp.utils.errors import UserError


@given(mask=arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_round_trip(mask: np.ndarray) -> None:
    """What pycocotools writes is read as it reads it."""
    (rle,) = encode_rle(mask[None])
    assert rle["size"] == list(mask.shape) and isinstance(rle["counts"], str)
    assert (decode_rle(rle, "here") == mask).all()
    assert (coco_mask.decode(rle) == mask).all()
    assert (decode_rle(rle | {"counts": rle["counts"].encode()}, "here") == mask).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (900, 1300)])
def test_long_runs(shape: tuple[int, int]) -> None:
    """Numbers of several characters, differences of both signs."""
    mask = np.zeros(shape, dtype=bool)
    mask.T.flat[shape[0] * shape[1] // 3 : -1] = True
    mask.T.flat[::5000] = True
    for masks in (mask[None], ~mask[None], np.ones((1, *shape), bool), np.zeros((1, *shape), bool)):
        assert (decode_rle(encode_rle(masks)[0], "here") == masks[0]).all()


def test_no_masks() -> None:
    """Are an empty list."""
    assert encode_rle(np.zeros((0, 4, 5), dtype=bool)) == []


@given(text=st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=40))
@settings(max_examples=300)
def test_any_text_is_a_mask_or_an_error(text: str) -> None:
    """Never anything else."""
    try:
        assert decode_rle({"size": [5, 6], "counts": text}, "here").shape == (5, 6)
    except UserError as error:
        assert str(error).startswith("here: broken run-length encoding")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "add up to 0, not to 5x6"),
        ("0P", "the last number is cut off"),
        ("PPPPPPPP0", "longer than 32 bits"),
        ("\u00e9", "a character that no encoder writes"),
        ([-1, 31], "whole numbers"),
        ([30.0], "whole numbers"),
        ([10**30], "whole numbers"),
        ([29], "add up to 29"),
    ],
)
def test_what_is_wrong(counts: str | list, message: str) -> None:
    """Is said."""
    with pytest.raises(UserError, match=f"here: broken run-length encoding: .*{message}"):
        decode_rle({"size": [5, 6], "counts": counts}, "here")


@pytest.mark.parametrize("size", [[0, 4], [10**9, 10**9], [5], [True, 30], "56", None])
def test_sizes(size: object) -> None:
    """That cannot be."""
    with pytest.raises(UserError, match="here: not a COCO run-length encoding"):
        decode_rle({"size": size, "counts": [30]}, "here")
