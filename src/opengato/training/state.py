"""The state of a run as `torch.distributed.checkpoint` folders: weights, optimiser moments, step.

`states/step-00001200/` is whole once it has a `checksums.json`, which is written last and replaced atomically; whatever lacks one
was interrupted. The state of any number of ranks loads into any other.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from opengato.checksum import checksum
from opengato.console import notice
from opengato.errors import OpenGatoError
from opengato.training.parallel import Ranks


class States:
    """The saved states of one run, the last `kept` of them.

    With several ranks a save goes on in the background, from a copy in CPU memory; the next save and `wait` wait for it.
    """

    def __init__(self, folder: Path, ranks: Ranks, kept: int = 2):
        if kept < 1:
            raise OpenGatoError(f"states {kept} would keep no state to go on from: keep at least 1")
        self.folder, self.ranks, self.kept = folder / "states", ranks, kept
        self._pending: tuple[Future[Any], Path, int, float] | None = None
        # Checkpoints are written by the CPU, beside training: their messages need a group of their own.
        self._group = dist.new_group(backend="gloo") if ranks.size > 1 else None

    def save(self, model: nn.Module, optimisers: list[torch.optim.Optimizer], step: int, elapsed: float) -> None:
        """Write the state after `step` steps; a crash at any moment leaves the old states or them and the new one."""
        self.wait()
        path = self.folder / f"step-{step:08d}"
        if self.ranks.first:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        state = _state(model, optimisers)
        if self._group is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there is one process only
                dcp.save(state, checkpoint_id=path, no_dist=True)
            self._finish(path, step, elapsed)
        else:
            dist.barrier(self._group)
            future = dcp.async_save(state, checkpoint_id=path, process_group=self._group)
            assert isinstance(future, Future)
            self._pending = (future, path, step, elapsed)

    def wait(self) -> None:
        """Until the last save is whole."""
        if self._pending is not None:
            future, path, step, elapsed = self._pending
            self._pending = None
            future.result()
            dist.barrier(self._group)
            if self.ranks.first:
                self._finish(path, step, elapsed)
            dist.barrier(self._group)

    def _finish(self, path: Path, step: int, elapsed: float) -> None:
        sums = {p.name: checksum(p) for p in sorted(path.iterdir())}
        partial = path / "checksums.json.partial"
        partial.write_text(json.dumps({"step": step, "elapsed": elapsed, "files": sums}))
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path / "checksums.json")
        # A state after this one is damaged, or of a run that was not gone on with.
        before = [state for state in sorted(self.folder.glob("step-*")) if state <= path]
        for other in set(self.folder.glob("step-*")) - set(before[-self.kept :]):
            shutil.rmtree(other, ignore_errors=True)

    @property
    def exist(self) -> bool:
        """Whether there is a state to go on from, be it damaged."""
        return any(self.folder.glob("step-*/checksums.json"))

    def load(self, model: nn.Module, optimisers: list[torch.optim.Optimizer]) -> tuple[int, float]:
        """Restore the newest whole state; returns the steps done and the seconds they took, (0, 0.0) where there is none.

        A state whose files are not what was written is named and passed over for the one before. Raises OpenGatoError where every
        state is damaged, or holds another model.
        """
        damaged = []
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            if not (path / "checksums.json").is_file():
                continue  # interrupted
            facts, wrong = _read(path)
            if wrong is not None:
                damaged.append(wrong)
                if self.ranks.first:
                    notice(f"{wrong} is damaged: going back to the state before it")
                continue
            state = _state(model, optimisers)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dcp.load(state, checkpoint_id=path, process_group=self._group, no_dist=self._group is None)
            except (RuntimeError, ValueError, KeyError, CheckpointException) as error:
                why = str(error).strip().splitlines()[-1][:200]
                raise OpenGatoError(f"{path} does not fit this model or optimiser: choose an empty --out folder ({why})") from None
            settings = [[{k: v for k, v in group.items() if k != "params"} for group in o.param_groups] for o in optimisers]
            set_state_dict(model, optimisers, model_state_dict=state["model"], optim_state_dict=state["optimiser"])
            for optimiser, groups in zip(optimisers, settings):  # rates and decay are the configuration's, which may have changed
                for group, values in zip(optimiser.param_groups, groups):
                    group.update(values)
            return facts["step"], facts["elapsed"]
        if damaged:
            raise OpenGatoError(f"every saved state is damaged, the newest at {damaged[0]}: remove {self.folder} to begin anew")
        return 0, 0.0


def _read(path: Path) -> tuple[dict[str, Any], Path | None]:
    """The facts about a state, and the first of its files that is not what was written, if there is one."""
    try:
        facts = json.loads((path / "checksums.json").read_text())
    except ValueError:
        return {}, path / "checksums.json"
    wrong = [path / name for name, written in facts["files"].items() if not (path / name).is_file() or checksum(path / name) != written]
    return facts, wrong[0] if wrong else None


def _state(model: nn.Module, optimisers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    weights, moments = get_state_dict(model, optimisers)
    return {"model": weights, "optimiser": moments}
