"""One process or many: ranks started by `torchrun`, data-parallel (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from opengato.errors import OpenGatoError

MODES = ("ddp", "fsdp")


@dataclass(frozen=True)
class Ranks:
    """This process among `size` of them. A process that `torchrun` did not start is rank 0 of 1, without a process group."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, on the CPU in the same dtype."""
        if self.size == 1:
            return values.cpu()
        moved = values.to(self.device, copy=True)
        dist.all_reduce(moved)
        return moved.cpu()

    def wait(self) -> None:
        """Until every rank is here, which may take one of them days: tokenising does not time out as an exchange of gradients does."""
        if self.size > 1:
            dist.barrier(group=_patient())


@cache
def _patient() -> dist.ProcessGroup:
    """A group of all ranks whose members wait for each other for a month."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=30))


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is a GPU, else the CPU; under `torchrun`, the GPU of the local rank."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def join(device: str = "auto") -> Ranks:
    """Join the process group that `torchrun` describes in the environment, if it does."""
    where = pick_device(device)
    if "WORLD_SIZE" not in os.environ:
        return Ranks(device=where)
    if not dist.is_initialized():
        # gloo beside NCCL: checkpoints are gathered from CPU memory.
        dist.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo")
    _patient()  # made by all ranks together, before any of them is busy
    return Ranks(dist.get_rank(), dist.get_world_size(), where)


def leave() -> None:
    """Leave the process group, if there is one."""
    _patient.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def distribute(model: Any, mode: str, ranks: Ranks) -> nn.Module:
    """The module to call instead of `model`, whose parameters stay the ones to optimise; with one rank that is the model itself."""
    if mode not in MODES:
        raise OpenGatoError(f"parallel {mode!r} is unknown: use 'ddp' or 'fsdp'")
    if ranks.size == 1:
        return model
    model.all_gradients = True
    if mode == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    return nn.parallel.DistributedDataParallel(model)


def without_exchange(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """The context of one micro-batch: gradients are exchanged after the last one only."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else module.no_sync()
    if hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(last)  # type: ignore[operator]
    return nullcontext()
