"""Functions of an acting model through torch.compile, shape by shape, with the weights as constants."""

from __future__ import annotations

import threading
import types
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from opengato.model.pytorch_private import compile_for_acting, compiling

# Of one function; what comes after these runs uncompiled.
_MOST_SHAPES = 16

_here = threading.local()


@contextmanager
def warming_up() -> Iterator[None]:
    """While this thread may compile: compiling takes seconds, in which nobody must wait for an action."""
    before, _here.warming = getattr(_here, "warming", False), True
    try:
        yield
    finally:
        _here.warming = before


class Compiled:
    """A method that runs compiled for the shapes of which a second call came during `warming_up`, and as it is for all others.

    The first call of a shape is often the only one, as that of an episode's prompt. Compiling takes seconds, and on a CPU a C++ compiler.
    Weights are taken for constants, which lets products of few rows be written for their very sizes.

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
        if key is None or not getattr(_here, "warming", False) or len(self._fast) == _MOST_SHAPES:
            return self.method(*arguments)
        if key not in self._seen:
            self._seen.add(key)
            return self.method(*arguments)
        compiled = _compile(self.method)
        with compiling(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TypedStorage is deprecated")  # by PyTorch's own compiler
            result = compiled(*arguments)
        self._fast[key] = compiled  # only now: another thread may be acting
        return result


def _compile(method: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A compiled form of its own: what torch.compile knows it keeps with the code, so the code is copied."""
    function, model = method.__func__, method.__self__  # type: ignore[attr-defined]
    copy = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    return compile_for_acting(types.MethodType(copy, model), next(model.parameters()).device)
