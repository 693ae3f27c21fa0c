"""Functions of an acting model through torch.compile, shape by shape, with the weights as constants."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch

from opengato.errors import OpenGatoError

# Of one function; what comes after these runs uncompiled.
_MOST_SHAPES = 16


class Compiled:
    """A method that runs compiled from the second call of a shape on; the first is often the only one, as that of an episode's prompt.

    Compiling takes seconds, and on a CPU a C++ compiler. Weights are taken for constants, which lets products of few rows be written for
    their very sizes.

    Args:
        method: of a model whose weights change no more.
        key: of its arguments: all that a compiled form depends on besides the values of tensors; None: not to be compiled.
    """

    def __init__(self, method: Callable[..., torch.Tensor], key: Callable[..., Hashable | None]):
        self.method, self.key = method, key
        self._seen: set[Hashable] = set()
        self._fast: dict[Hashable, Callable[..., torch.Tensor]] = {}

    def __call__(self, *arguments: Any) -> torch.Tensor:
        key = self.key(*arguments)
        if (fast := self._fast.get(key)) is not None:
            return fast(*arguments)
        if key is None or key not in self._seen or len(self._fast) == _MOST_SHAPES:
            self._seen.add(key)
            return self.method(*arguments)
        self._fast[key] = _compile(self.method)
        from torch._inductor import select_algorithm

        select_algorithm.PRINT_AUTOTUNE = False  # a table for every product
        # Looked up while it compiles, in the first call; as an option of torch.compile it comes too late.
        with torch._inductor.config.patch(freezing=True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TypedStorage is deprecated")  # by PyTorch's own compiler
            return self._fast[key](*arguments)


def check_compiler(device: torch.device) -> None:
    """Raises OpenGatoError where a CPU's code could not be compiled."""
    from torch._inductor import cpp_builder, exc

    if device.type == "cpu":
        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler:
            raise OpenGatoError("compiled needs a C++ compiler and found none: install g++ or clang++, or leave compiled out") from None


def _compile(method: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A compiled form of its own: what torch.compile knows it keeps with the code, so the code is copied.

    It checks nothing before it runs, since the key has told shapes apart: to check took a tenth of a small model's action.
    """
    function, model = method.__func__, method.__self__  # type: ignore[attr-defined]
    copy = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "cpp_wrapper": next(model.parameters()).device.type == "cpu",
        "max_autotune_gemm": True,
        "max_autotune_gemm_backends": "CPP,ATEN,TRITON",
        "max_autotune_report_choices_stats": False,
        "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,
    }
    return torch.compile(types.MethodType(copy, model), fullgraph=True, dynamic=False, options=options)
