"""All that the project uses of PyTorch without PyTorch promising to keep it, each beside a public way to the same result.

What is missing in a version of PyTorch is done the public way, more slowly; with OPENGATO_PUBLIC_TORCH=1 in the environment everything
is, and the tests run both. Which versions were tried: docs/performance.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from opengato.cache import cache_root
from opengato.errors import OpenGatoError

_PACKED_FOR = 16  # rows: the layout that was the fastest, or near it, for every number of them from 1 to 160


def _private(of: Any, *path: str) -> Any:
    """What lies below `of`, None where this PyTorch does not have it, or only what is public is wanted."""
    if os.environ.get("OPENGATO_PUBLIC_TORCH") == "1":
        return None
    for name in path:
        of = getattr(of, name, None)
    return of


def can_pack(weight: torch.Tensor) -> bool:
    """Whether there are products of packed weights of this device and dtype; the public way is not to pack."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not all(_private(torch, "ops", "mkldnn", name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    if weight.dtype == torch.float32:
        return True
    # Without AVX-512 oneDNN has no products of bfloat16; PyTorch's own are slow there, but right.
    supported = _private(torch, "ops", "mkldnn", "_is_mkldnn_bf16_supported")
    return weight.dtype == torch.bfloat16 and supported is not None and supported()


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A matrix (out, in) as oneDNN reads it; only where `can_pack`."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_FOR)
    return packed


def packed_linear(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x (…, in) times a packed matrix, (…, out)."""
    # The product that PyTorch's own compiler chooses when weights are constants.
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return product


def shared_bytes(count: int) -> torch.Tensor:
    """uint8 (count,), undefined, where another process can be handed it without a copy."""
    if (new := _private(torch.UntypedStorage, "_new_shared")) is not None:
        return torch.empty(0, dtype=torch.uint8).set_(new(count))
    return torch.empty(count, dtype=torch.uint8).share_memory_()


def int8_linear(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """bfloat16 (N, in) times int8 (out, in) with a scale a row, bfloat16 (out,), to (N, out)."""
    if (product := _private(torch, "_weight_int8pack_mm")) is not None:
        out: torch.Tensor = product(x, weight, scale)
        return out
    return int8_linear_of_many(x, weight, scale)


def int8_linear_of_many(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The same, by unpacking the weights first."""
    return F.linear(x, weight.to(x.dtype)) * scale


def softmax_gradient(gradient: torch.Tensor, softmax: torch.Tensor) -> torch.Tensor:
    """The gradient of the scores of a softmax over the last dimension, from that of its result."""
    if (backward := _private(torch, "_softmax_backward_data")) is not None:
        scores: torch.Tensor = backward(gradient, softmax, -1, softmax.dtype)
        return scores
    product = gradient * softmax
    return product - softmax * product.sum(-1, keepdim=True)


@contextmanager
def compiling() -> Iterator[None]:
    """While something is compiled for acting: weights are taken for constants, and no table is printed for every product.

    The code is kept in the user's cache folder (or $TORCHINDUCTOR_CACHE_DIR), so that the next process need not make it.
    """
    if (inductor := _private(torch, "_inductor")) is None:
        yield
        return
    from torch._inductor import config, select_algorithm

    assert inductor
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_root() / "compiled"))
    select_algorithm.PRINT_AUTOTUNE = False
    # Looked up while it compiles, in the first call; as an option of torch.compile it comes too late. With weights packed for oneDNN, the
    # code would not be kept on the disk for the next process.
    with config.patch({"freezing": True, "cpp.weight_prepack": False}):
        yield


def compile_for_acting(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function` through torch.compile for the one shape it is called with.

    It checks nothing before it runs: to check took a tenth of a small model's action. The public way checks.
    """
    if _private(torch, "compiler", "skip_all_guards_unsafe") is None:
        return torch.compile(function, fullgraph=True, dynamic=False)
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "cpp_wrapper": device.type == "cpu",
        "max_autotune_gemm": True,
        "max_autotune_gemm_backends": "CPP,ATEN,TRITON",
        "max_autotune_report_choices_stats": False,
        "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,
    }
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)


def check_compiler(device: torch.device) -> None:
    """Raises OpenGatoError where a CPU's code could not be compiled; where that cannot be asked, compiling will tell."""
    if device.type != "cpu" or _private(torch, "_inductor") is None:
        return
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        raise OpenGatoError("compiled needs a C++ compiler and found none: install g++ or clang++, or leave compiled out") from None
