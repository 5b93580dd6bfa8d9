"""Deformable attention against its definition, its textbook form and its gradients."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.deformable import per_level_grid_sample
from maskclippp.mask_generators.deformable_attention import deformable_attention, kernel_fits, sample_with_torch

Shapes = list[tuple[int, int]]
PYRAMIDS: dict[str, Shapes] = {
    "three levels": [(3, 4), (6, 8), (12, 16)],
    "one level": [(5, 7)],
    "odd sizes": [(1, 1), (3, 1), (1, 9), (7, 5)],
}


def make_inputs(
    shapes: Shapes, *, queries: int = 11, heads: int = 3, dim: int = 5, points: int = 4, spread: float = 1.6
) -> tuple[Tensor, Shapes, Tensor, Tensor]:
    """Random values, locations around the centre (spread 1: all inside) and weights, float64."""
    generator = torch.Generator().manual_seed(queries + heads + dim)
    value = torch.randn(2, sum(h * w for h, w in shapes), heads, dim, generator=generator, dtype=torch.float64)
    locations = torch.rand(2, queries, heads, len(shapes), points, 2, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, queries, heads, len(shapes), points, generator=generator, dtype=torch.float64)
    return value, shapes, (locations - 0.5) * spread + 0.5, weights


def pixel_centres(height: int, width: int) -> Tensor:
    """(1, height * width, 1, 1, 1, 2), float64."""
    rows, columns = ((torch.arange(side, dtype=torch.float64) + 0.5) / side for side in (height, width))
    return torch.cartesian_prod(rows, columns).flip(-1).view(1, -1, 1, 1, 1, 2)


@pytest.mark.parametrize("name", PYRAMIDS)
@pytest.mark.parametrize("spread", [0.9, 1.6, 40.0])
def test_equals_the_textbook_form(name: str, spread: float) -> None:
    """At every place, inside, at the border and far outside."""
    inputs = make_inputs(PYRAMIDS[name], spread=spread)
    torch.testing.assert_close(deformable_attention(*inputs), per_level_grid_sample(*inputs))


def test_queries_at_their_own_pixels_read_their_values() -> None:
    """The centre of pixel (i, j) is ((j + 1/2) / width, (i + 1/2) / height)."""
    height, width = 4, 6
    value, shapes, _, _ = make_inputs([(height, width)], heads=2)
    locations = pixel_centres(height, width).expand(2, -1, 2, 1, 1, 2)
    found = deformable_attention(value, shapes, locations, torch.ones(locations.shape[:-1], dtype=torch.float64))
    torch.testing.assert_close(found, value.flatten(2))


def test_zero_offsets_are_bilinear_sampling_at_the_references() -> None:
    """All points at one place and weights that add up to one: each level resized, then averaged over the levels."""
    value, shapes, _, _ = make_inputs(PYRAMIDS["three levels"], heads=1)
    height, width = 24, 32
    locations = pixel_centres(height, width).expand(2, -1, 1, 3, 4, 2)
    found = deformable_attention(value, shapes, locations, torch.full(locations.shape[:-1], 1 / 12).double())
    maps = [
        level.transpose(1, 2).reshape(2, -1, *shape)
        for level, shape in zip(value[:, :, 0].split([h * w for h, w in shapes], dim=1), shapes, strict=True)
    ]
    resized = sum(F.interpolate(m, (height, width), mode="bilinear", align_corners=False) for m in maps) / 3
    inner = slice(4, -4)  # at the border resizing repeats the edge, sampling fades to zero
    found = found.transpose(1, 2).view(2, -1, height, width)
    torch.testing.assert_close(found[..., inner, inner], resized[..., inner, inner])


def test_outside_is_zero_and_half_outside_fades() -> None:
    """On the border line half of the sample is padding."""
    value = torch.ones(1, 12, 1, 2)
    places = torch.tensor([[-0.5, 0.5], [0.0, 0.5], [0.0, 0.0], [1.0, 0.5], [0.5, 1.0 + 1e9], [0.5, 0.5]])
    locations = places.view(1, -1, 1, 1, 1, 2)
    found = deformable_attention(value, [(3, 4)], locations, torch.ones(1, len(places), 1, 1, 1))
    torch.testing.assert_close(found[0, :, 0], torch.tensor([0.0, 0.5, 0.25, 0.5, 0.0, 1.0]))


def test_gradients() -> None:
    """Of values, locations and weights, against finite differences."""
    value, shapes, locations, weights = make_inputs([(3, 2), (1, 4)], queries=3, heads=2, dim=2, points=2)
    tensors = [x.requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, w: deformable_attention(v, shapes, x, w), tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_adds_up_in_float32(dtype: torch.dtype) -> None:
    """Only the values are rounded: the result is that of the rounded values, rounded once."""
    value, shapes, locations, weights = make_inputs(PYRAMIDS["three levels"])
    value, locations, weights = value.to(dtype), locations.float(), weights.float()
    found = deformable_attention(value, shapes, locations, weights)
    assert found.dtype == dtype
    torch.testing.assert_close(found, deformable_attention(value.float(), shapes, locations, weights).to(dtype))


def test_no_queries_and_not_a_number() -> None:
    """Neither ends in the memory of others."""
    value, shapes, locations, weights = make_inputs([(3, 2)])
    assert deformable_attention(value, shapes, locations[:, :0], weights[:, :0]).shape == (2, 0, 15)
    locations[0, 0] = float("nan")
    found = deformable_attention(value, shapes, locations, weights)
    assert found[0, 0].isnan().all() and not found[:, 1:].isnan().any()


def test_shapes_without_data() -> None:
    """On the meta device."""
    inputs = make_inputs(PYRAMIDS["one level"])
    value, locations, weights = (inputs[i].to("meta") for i in (0, 2, 3))
    assert deformable_attention(value, inputs[1], locations, weights).shape == (2, 11, 15)


def test_shapes_that_do_not_fit() -> None:
    """Are refused before anything is read."""
    value, shapes, locations, weights = make_inputs(PYRAMIDS["one level"])
    with pytest.raises(ValueError, match="36 positions, but the values have 35"):
        deformable_attention(value, [(6, 6)], locations, weights)
    with pytest.raises(ValueError, match="do not fit"):
        deformable_attention(value, shapes, locations[:, :, :2], weights)


@pytest.mark.slow
def test_torch_traces_it() -> None:
    """In one graph without breaks, with its gradients (nothing is compiled here)."""
    value, shapes, locations, weights = make_inputs(PYRAMIDS["three levels"])
    tensors = [x.requires_grad_() for x in (value, locations, weights)]
    expected = sample_with_torch(value, shapes, locations, weights)
    traced = torch.compile(lambda v, x, w: sample_with_torch(v, shapes, x, w), fullgraph=True, backend="aot_eager")
    found = traced(*tensors)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(*(torch.autograd.grad(y.square().sum(), tensors) for y in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def compare_with_kernel(device: str) -> None:
    """Forward, gradients and half precision of the Triton kernel against torch; TRITON_INTERPRET must be set before."""
    from maskclippp.mask_generators.deformable_attention_triton import sample_with_triton

    cases = [
        make_inputs(PYRAMIDS["three levels"], queries=7, heads=8, dim=32),
        make_inputs(PYRAMIDS["odd sizes"], queries=5, dim=5, points=2, spread=3.0),
        make_inputs(PYRAMIDS["one level"], queries=1, heads=1, dim=8, points=1, spread=40.0),
        make_inputs(PYRAMIDS["one level"], queries=0),
    ]
    for value, shapes, locations, weights in cases:
        tensors = [x.float().to(device).requires_grad_() for x in (value, locations, weights)]
        found, expected = (f(tensors[0], shapes, *tensors[1:]) for f in (sample_with_triton, sample_with_torch))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        given = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).to(device)
        gradients = zip(*(torch.autograd.grad(y, tensors, given) for y in (found, expected)), strict=True)
        for ours, theirs in gradients:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        for dtype in (torch.float16, torch.bfloat16):
            half = tensors[0].detach().to(dtype).requires_grad_()
            found, expected = (f(half, shapes, *tensors[1:]) for f in (sample_with_triton, sample_with_torch))
            assert found.dtype == dtype
            step = torch.finfo(dtype).eps  # one rounding at the end
            torch.testing.assert_close(found, expected, rtol=2 * step, atol=2 * step)
            ours, theirs = (torch.autograd.grad(y.float().square().sum(), half)[0] for y in (found, expected))
            torch.testing.assert_close(ours, theirs, rtol=8 * step, atol=8 * step)


needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")


@needs_triton
@pytest.mark.slow
def test_kernel_in_the_interpreter(root_dir: Path) -> None:
    """On the CPU. In a process of its own: Triton decides at import whether it interprets."""
    code = "from tests.mask_generators.test_deformable_attention import compare_with_kernel; compare_with_kernel('cpu')"
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=root_dir, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_triton
@pytest.mark.parametrize("kernel", ["_sample", "_take_back"])
@pytest.mark.parametrize("value_type", ["fp32", "bf16"])
def test_kernel_compiles(kernel: str, value_type: str) -> None:
    """For a GPU that need not be there; the interpreter accepts what the compiler does not."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from maskclippp.mask_generators import deformable_attention_triton

    function = getattr(deformable_attention_triton, kernel)
    pointers = {"levels": "*i32", "value": f"*{value_type}", "out": f"*{value_type}", "gradient": f"*{value_type}"}
    numbers = dict.fromkeys(("rows", "queries", "length"), "i32")
    constants = {"HEADS": 8, "DIM": 32, "WIDTH": 32, "LEVELS": 3, "POINTS": 4, "ROWS": 32}
    kinds = numbers | dict.fromkeys(constants, "constexpr") | pointers
    source = ASTSource(
        function,
        signature={name: kinds.get(name, "*fp32") for name in function.arg_names},
        constexprs={(function.arg_names.index(name),): constant for name, constant in constants.items()},
    )
    assert compile_kernel(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernel_on_a_gpu() -> None:
    """The same comparison, and a pyramid of real size."""
    compare_with_kernel("cuda")
    value, shapes, locations, weights = make_inputs([(25, 34), (50, 68), (100, 136)], queries=5000, heads=8, dim=32)
    inputs = value.float().cuda(), shapes, locations.float().cuda(), weights.float().cuda()
    assert kernel_fits(inputs[0])
    torch.testing.assert_close(deformable_attention(*inputs), sample_with_torch(*inputs), rtol=1e-4, atol=1e-4)


def test_kernel_is_chosen_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on a CPU, nor in double precision, nor where sums must repeat to the bit."""
    monkeypatch.setattr("maskclippp.mask_generators.deformable_attention._triton_works", lambda: True)
    assert not kernel_fits(torch.zeros(1))
    assert kernel_fits(SimpleNamespace(is_cuda=True, dtype=torch.float16))
    assert not kernel_fits(SimpleNamespace(is_cuda=True, dtype=torch.float64))
    torch.use_deterministic_algorithms(True)
    try:
        assert not kernel_fits(SimpleNamespace(is_cuda=True, dtype=torch.float16))
    finally:
        torch.use_deterministic_algorithms(False)
