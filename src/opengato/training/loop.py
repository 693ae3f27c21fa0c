"""The training loop: read it from top to bottom.

Step k trains on sequences [k·batch, (k + 1)·batch) of the mixture, however many ranks share them, and every sequence brings its own
noise, so a run that was killed and resumed goes on with the same losses to the last digit.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from opengato.console import detail
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture
from opengato.model.batch import Batch, collate
from opengato.model.bfloat16 import multiplies_bfloat16
from opengato.model.gato import Gato
from opengato.training.display import Display
from opengato.training.loader import load
from opengato.training.lora import adapter_of, add_adapters
from opengato.training.optimiser import OptimiserConfig, make_optimisers, rate_factor, set_rate
from opengato.training.parallel import distribute, join, without_exchange
from opengato.training.resuming import check_same_run
from opengato.training.state import States
from opengato.training.stopping import Stopped, told_to_stop
from opengato.training.tally import Tally
from opengato.training.trackers import Trackers, check_trackers


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes:
        steps: optimiser steps. batch: sequences a step.
        seconds: train for so long instead of `steps`, with the schedule by the clock; such a run resumes, but not to the same digits.
        seed: of the weights, the mixture and the noise.
        checkpoint_every: seconds between two saved states. states: how many of them are kept. log_every: steps between two logged rows.
        validate_every: steps between two measurements of the loss on the episodes that `Sampling.validation_share` keeps from training;
            the last step is measured too. validation_batches: how many batches each of them takes, always the same ones.
        workers: processes that make batches beside the training; 0: a thread.
        diverged: a loss from which the run stops; guessing among all 33,025 ids costs 10.4.
        accumulate: micro-batches a step, and rank. parallel: with several ranks, "ddp" (weights on each) or "fsdp" (weights shared out).
        allow_changes: go on with a run that was begun with other data, weights, model, sampling, batch, seed or optimiser.
        recompute: activation checkpointing. compile: compile the blocks with torch.compile; on a GPU, attend with FlexAttention.
        tracker: who is told of the rows besides TensorBoard: "wandb", "trackio" (see `trackers`).
        device: "cpu", "cuda", or "auto". autocast: compute in bfloat16 where the processor multiplies it.
        optimiser: see OptimiserConfig.
    """

    steps: int = 1000
    seconds: float | None = None
    batch: int = 16
    seed: int = 0
    checkpoint_every: float = 30.0
    states: int = 2
    log_every: int = 10
    validate_every: int = 500
    validation_batches: int = 4
    workers: int = 1
    diverged: float = 20.0
    accumulate: int = 1
    parallel: str = "ddp"
    allow_changes: bool = False
    recompute: bool = False
    compile: bool = False
    tracker: tuple[str, ...] = ()
    device: str = "auto"
    autocast: bool = True
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)


@dataclass
class Measured:
    """What one step was, over all ranks: loss, gradient norm, and what it was trained on."""

    loss: float
    norm: float
    tally: Tally


class Trainer:
    """One model, one mixture, one run folder, on one process or many.

    The folder holds `states/` (to resume, see `States`), `log.jsonl` (a row every `log_every` steps, and where the loss on episodes never
    trained on is measured; `waited` is the share of the time that training waited for data), TensorBoard event files and `train.json`
    (the resolved configuration, and `facts` about it); rank 0 writes the last three.
    """

    def __init__(self, model: Gato, mixture: Mixture, config: TrainConfig, folder: Path, facts: dict[str, Any] | None = None):
        self.mixture, self.config, self.folder = mixture, config, folder
        check_trackers(config.tracker)
        self.ranks = join(config.device)
        if config.batch % (self.ranks.size * config.accumulate):
            raise OpenGatoError(
                f"batch {config.batch} does not divide into {self.ranks.size} ranks × {config.accumulate} micro-batches: "
                f"use a multiple of {self.ranks.size * config.accumulate}"
            )
        for name in ("validate_every", "validation_batches"):
            if getattr(config, name) < 1:
                raise OpenGatoError(f"{name} is {getattr(config, name)}: give at least 1; --validation-share 0 leaves the validation out")
        self.validation = mixture.validation() if mixture.sampling.validation_share else None
        self.model = model.to(self.ranks.device)
        self.model.recompute = config.recompute
        self.autocast = config.autocast and multiplies_bfloat16(self.ranks.device)
        self.module = distribute(self.model, config.parallel, self.ranks)
        if config.compile:
            self.model.flex = self.ranks.device.type == "cuda"
            for block in self.model.blocks:
                block.compile(dynamic=True)
        self.optimisers = make_optimisers(self.model, config.optimiser)
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "log.jsonl"
        self.states = States(folder, self.ranks, config.states)
        self.resolved = {**(facts or {}), "train": asdict(config), "model": model.config.to_json()}
        if self.states.exist and not config.allow_changes:
            check_same_run(folder / "train.json", self.resolved)
        self.step, self.elapsed = self.states.load(self.model, self.optimisers)
        precision = "bfloat16" if self.autocast else "float32"
        detail(f"rank {self.ranks.rank} of {self.ranks.size} trains on {self.ranks.device} in {precision}, from step {self.step} on")
        if self.ranks.first:
            self._trim_log()
            (folder / "train.json").write_text(json.dumps(self.resolved, indent=1))

    def _trim_log(self) -> None:
        """Drop rows written after the state that the run goes on from."""
        if self.log_path.is_file():
            rows = [line for line in self.log_path.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= self.step]
            self.log_path.write_text("".join(f"{row}\n" for row in rows))

    def numbers(self, k: int) -> list[range]:
        """The sequences of step k that this rank trains on, micro-batch by micro-batch. All ranks' together are always the same."""
        size = self.config.batch // (self.ranks.size * self.config.accumulate)
        first = k * self.config.batch
        starts = [first + (micro * self.ranks.size + self.ranks.rank) * size for micro in range(self.config.accumulate)]
        return [range(start, start + size) for start in starts]

    def batch(self, k: int, mixture: Mixture | None = None) -> list[Batch]:
        """The micro-batches of step k, or the k-th of another mixture."""
        config, drawn_from = self.model.config, mixture or self.mixture
        batches = []
        for numbers in self.numbers(k):
            batch = collate([drawn_from.sequence(n) for n in numbers], config)
            if config.stochastic_depth:
                rows = [np.random.Generator(np.random.Philox(key=self.config.seed, counter=[0, 0, 1, n])) for n in numbers]
                batch.chance = torch.from_numpy(np.stack([rng.random((config.blocks, 2), np.float32) for rng in rows]))
            batches.append(batch)
        return batches

    def train_step(self, batches: list[Batch]) -> Measured:
        """Forward, backward, update on this step's micro-batches."""
        config = self.config
        torch.manual_seed((config.seed << 32) + self.step)
        done = min(1.0, self.elapsed / config.seconds) if config.seconds else None
        set_rate(self.optimisers, rate_factor(config.optimiser, self.step, config.steps, done))
        shares = [batch.shares() for batch in batches]
        total = self.ranks.sum(torch.stack([s.sum() for s in shares]).sum().double())
        # Ranks are averaged by DDP and FSDP; the loss is a mean over what all of them predict.
        scale = self.ranks.size / total.item()
        tally = Tally(self.mixture.domains)
        for number, (batch, share) in enumerate(zip(batches, shares)):
            with without_exchange(self.module, last=number == len(batches) - 1):
                with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.autocast):
                    losses = self.module(batch.to(self.ranks.device))
                loss = (losses * share.to(losses)).sum() * scale
                loss.backward()
            tally.add(losses, batch)
        if self.ranks.size > 1:
            self._drop_empty_gradients(batches)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip)
        tally = tally.over(self.ranks)
        out = Measured(tally.loss, (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item(), tally)
        if not math.isfinite(out.norm) or not out.loss < config.diverged:
            self._stop(out)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return out

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The loss on episodes that are never trained on, all together and by domain, always of the same sequences: a part of a row."""
        assert self.validation is not None
        tally = Tally(self.validation.domains)
        self.module.eval()
        for batch in (b for k in range(self.config.validation_batches) for b in self.batch(k, self.validation)):
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.autocast):
                tally.add(self.module(batch.to(self.ranks.device)), batch)
        self.module.train()
        tally = tally.over(self.ranks)
        return {"validation/loss": tally.loss} | {f"validation/loss/{name}": loss for name, loss in tally.by_domain().items()}

    def _drop_empty_gradients(self, batches: list[Batch]) -> None:
        """Let what no rank had anything for have no gradient, as in one process: zeros would let old moments move it."""
        parts = [self.model.optional(batch) for batch in batches]
        used = self.ranks.sum(torch.tensor([[has for _, has in part] for part in parts], dtype=torch.int64).sum(0))
        for (parameters, _), count in zip(parts[0], used.tolist()):
            if not count:
                for parameter in parameters:
                    parameter.grad = None

    def _stop(self, out: Measured) -> None:
        """Name the batch that broke the run; the states before it stay."""
        first = self.step * self.config.batch
        windows = {n: self.mixture.describe(n) for n in range(first, first + self.config.batch)}
        path = self.folder / "bad_batch.json"
        if self.ranks.first:
            path.write_text(json.dumps({"step": self.step, "loss": out.loss, "norm": out.norm, "sequences": windows}, indent=1))
        tasks = sorted({w["task"] for pieces in windows.values() for w in pieces})
        raise OpenGatoError(
            f"at step {self.step} the loss is {out.loss:.4g} and the gradient's norm {out.norm:.4g}, on windows of {', '.join(tasks)} "
            f"(all in {path}): the last good state is kept in {self.states.folder}; lower --optimiser.learning-rate, with "
            "--allow-changes to go on from there, or look at that data"
        )

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.elapsed >= self.config.seconds if self.config.seconds else self.step >= self.config.steps

    def run(self, show: bool = True) -> None:
        """Train to the last step; saves every `checkpoint_every` seconds and at the end. Raises Stopped after SIGTERM, having saved."""
        config, first = self.config, self.ranks.first
        self.model.train()
        saved = logged = time.monotonic()
        begun = saved - self.elapsed
        last = 10**9 if config.seconds else config.steps
        window = Tally(self.mixture.domains)  # since the last logged row
        with ExitStack() as stack:
            told = stack.enter_context(told_to_stop())
            if first:
                trackers = stack.enter_context(Trackers(config.tracker, self.folder, self.resolved, self.step))
                log = stack.enter_context(open(self.log_path, "a", buffering=1))
                total, done = (config.seconds, self.elapsed) if config.seconds else (config.steps, self.step)
                display = stack.enter_context(Display(int(total), int(done), show))
            pin = self.ranks.device.type == "cuda"
            coming = stack.enter_context(closing(load(self.batch, self.step, last, config.workers, pin)))
            waited, finished, stopped = 0.0, self.finished, False  # finished already: started again after its last step
            while not (finished or stopped):
                asked = time.monotonic()
                batches = next(coming)
                waited += time.monotonic() - asked
                out = self.train_step(batches)
                self.elapsed = time.monotonic() - begun
                window.include(out.tally)
                finished, due, stopped = self._agreed(self.finished, time.monotonic() - saved > config.checkpoint_every, told.is_set())
                measured = {}
                if self.validation is not None and (self.step % config.validate_every == 0 or finished):
                    asked = time.monotonic()
                    measured = self.validate()
                    logged += time.monotonic() - asked  # a row's speeds are training's
                if self.step % config.log_every == 0 or finished or measured:
                    now = time.monotonic()
                    if first:
                        row: dict[str, Any] = {"step": self.step, "loss": out.loss, "norm": out.norm}
                        row.update({f"loss/{name}": loss for name, loss in window.by_domain().items()}, **measured)
                        row.update(
                            timesteps_per_s=window.timesteps / (now - logged),
                            tokens_per_s=window.positions / (now - logged),
                            waited=waited / (now - logged),
                            learning_rate=self.optimisers[0].param_groups[0]["lr"],
                        )
                        log.write(json.dumps(row) + "\n")
                        trackers.log(row)
                        display.update(row, self.elapsed if config.seconds else self.step)
                    window = Tally(self.mixture.domains)
                    logged, waited = now, 0.0
                if due or finished or stopped:
                    self.states.save(self.model, self.optimisers, self.step, self.elapsed)
                    saved = time.monotonic()
        self.states.wait()
        self.model.eval()
        if stopped and not finished:
            raise Stopped

    def gather(self) -> None:
        """Put the whole model back together on the first rank, as one process has it; on the others it has no values."""
        if self.ranks.size > 1 and self.config.parallel == "fsdp":
            options = StateDictOptions(full_state_dict=True, cpu_offload=True, broadcast_from_rank0=False)
            weights = get_model_state_dict(self.model, options=options)
            with torch.device("meta"):
                whole = Gato(self.model.config)
            if adapter := adapter_of(self.model):
                add_adapters(whole, *adapter)
            if self.ranks.first:  # only the first rank is given them
                whole.load_state_dict(weights, assign=True)
            self.model = whole.eval()

    def _agreed(self, *mine: bool) -> list[bool]:
        """What any rank says: clocks differ, and all must save and stop at the same step."""
        return [count > 0 for count in self.ranks.sum(torch.tensor(mine, dtype=torch.int64)).tolist()]
