"""The state of a run, in one safetensors file that is replaced atomically: weights, optimiser moments, step."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from opengato.errors import OpenGatoError


def save_state(path: Path, model: nn.Module, optimisers: list[torch.optim.Optimizer], step: int, elapsed: float = 0.0) -> None:
    """Write the state after `step` steps; a crash at any moment leaves the old file or the new one."""
    names = {id(p): n for n, p in model.named_parameters()}
    tensors = {f"model.{n}": p.detach().contiguous() for n, p in model.state_dict().items()}
    for optimiser in optimisers:
        for parameter, state in optimiser.state.items():
            for key, value in state.items():
                tensors[f"optimiser.{names[id(parameter)]}.{key}"] = torch.as_tensor(value).detach().contiguous()
    partial = path.with_suffix(".partial")
    save_file(_unshared(tensors), partial, metadata={"step": str(step), "elapsed": repr(elapsed)})
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tied weights once: safetensors refuses two names for one memory."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in tensors.items():
        if tensor.data_ptr() in seen and tensor.numel():
            continue
        seen.add(tensor.data_ptr())
        kept[name] = tensor
    return kept


def load_state(path: Path, model: nn.Module, optimisers: list[torch.optim.Optimizer]) -> tuple[int, float]:
    """Restore what `save_state` wrote; returns the steps done and the seconds they took."""
    with safe_open(path, framework="pt") as file:
        step, elapsed = int(file.metadata()["step"]), float(file.metadata()["elapsed"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise OpenGatoError(f"{path} holds another model (it lacks {missing[:3]}, has {unexpected[:3]}): choose an empty --out folder")
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                name = next(n for n, p in model.named_parameters() if p is parameter)
                prefix = f"optimiser.{name}."
                state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                if state:
                    optimiser.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    return step, elapsed
