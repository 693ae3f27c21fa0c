"""The training loop: read it from top to bottom.

Step k trains on sequences [k·batch, (k + 1)·batch) of the mixture and draws its noise from (seed, k), so a run that was killed and
resumed goes on with the same losses to the last digit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from opengato.errors import OpenGatoError
from opengato.mixture import Mixture
from opengato.model.batch import Batch, collate
from opengato.model.gato import Gato
from opengato.training.display import Display
from opengato.training.optimiser import OptimiserConfig, make_optimisers, rate_factor, set_rate
from opengato.training.state import load_state, save_state


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes:
        steps: optimiser steps. batch: sequences a step.
        seconds: train for so long instead of `steps`, with the schedule by the clock; such a run resumes, but not to the same digits.
        seed: of the weights, the mixture and the noise.
        checkpoint_every: seconds between two saved states. log_every: steps between two logged rows.
        device: "cpu", "cuda", or "auto". autocast: compute in bf16 where it helps.
        optimiser: see OptimiserConfig.
    """

    steps: int = 1000
    seconds: float | None = None
    batch: int = 16
    seed: int = 0
    checkpoint_every: float = 30.0
    log_every: int = 10
    device: str = "auto"
    autocast: bool = True
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is a GPU, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def prefetch(build: Callable[[int], Batch], first: int, last: int, depth: int = 2) -> Iterator[Batch]:
    """Batches first … last - 1, built in one background thread, `depth` ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(build, k) for k in range(first, min(first + depth, last))]
        for k in range(first, last):
            if k + depth < last:
                waiting.append(pool.submit(build, k + depth))
            yield waiting.pop(0).result()


class Trainer:
    """One model, one mixture, one run folder.

    The folder holds `state.safetensors` (to resume), `log.jsonl` (a row every `log_every` steps), TensorBoard event files and
    `train.json` (the resolved configuration).
    """

    def __init__(self, model: Gato, mixture: Mixture, config: TrainConfig, folder: Path):
        self.mixture, self.config, self.folder = mixture, config, folder
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        self.optimisers = make_optimisers(self.model, config.optimiser)
        folder.mkdir(parents=True, exist_ok=True)
        self.state_path, self.log_path = folder / "state.safetensors", folder / "log.jsonl"
        self.step, self.elapsed = load_state(self.state_path, self.model, self.optimisers) if self.state_path.is_file() else (0, 0.0)
        self._trim_log()
        (folder / "train.json").write_text(json.dumps({**asdict(config), "model": model.config.to_json()}, indent=1))

    def _trim_log(self) -> None:
        """Drop rows written after the state that the run goes on from."""
        if self.log_path.is_file():
            rows = [line for line in self.log_path.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= self.step]
            self.log_path.write_text("".join(f"{row}\n" for row in rows))

    def batch(self, k: int) -> Batch:
        """The batch of step k."""
        first = k * self.config.batch
        return collate([self.mixture.sequence(n) for n in range(first, first + self.config.batch)], self.model.config.reads_actions)

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Forward, backward, update; returns the loss, by domain too, and the gradient's norm."""
        config = self.config
        torch.manual_seed((config.seed << 32) + self.step)
        share = min(1.0, self.elapsed / config.seconds) if config.seconds else None
        set_rate(self.optimisers, rate_factor(config.optimiser, self.step, config.steps, share))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.autocast):
            losses = self.model.losses(batch.to(self.device))
        loss = losses.mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip)
        if not torch.isfinite(norm):
            raise OpenGatoError(
                f"the gradient is {norm.item()} at step {self.step} (sequences {self.step * config.batch} on): the last good "
                f"state is {self.state_path}; lower --optimiser.learning-rate"
            )
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        domains = batch.target_domains.to(losses.device)
        counts = torch.bincount(domains, minlength=len(self.mixture.domains))
        sums = torch.bincount(domains, losses.detach().float(), minlength=len(self.mixture.domains))
        return {"loss": loss.item(), "norm": norm.item(), "sums": sums.cpu(), "counts": counts.cpu()}

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.elapsed >= self.config.seconds if self.config.seconds else self.step >= self.config.steps

    def run(self, show: bool = True) -> None:
        """Train to the last step; saves every `checkpoint_every` seconds and at the end."""
        from torch.utils.tensorboard import SummaryWriter

        config, names = self.config, self.mixture.domains
        self.model.train()
        saved = logged = time.monotonic()
        begun = saved - self.elapsed
        last = 10**9 if config.seconds else config.steps
        sums, counts = torch.zeros(len(names)), torch.zeros(len(names))
        timesteps = tokens = 0
        with (
            SummaryWriter(str(self.folder), purge_step=self.step) as board,
            open(self.log_path, "a", buffering=1) as log,
            Display(int(config.seconds or config.steps), int(self.elapsed if config.seconds else self.step), show) as display,
        ):
            for batch in prefetch(self.batch, self.step, last):
                if self.finished:  # only when started again after its last step
                    break
                out = self.train_step(batch)
                self.elapsed = time.monotonic() - begun
                sums, counts = sums + out["sums"], counts + out["counts"]
                timesteps += batch.timesteps
                tokens += int((batch.segments >= 0).sum())
                if self.step % config.log_every == 0 or self.finished:
                    now = time.monotonic()
                    row: dict[str, Any] = {"step": self.step, "loss": out["loss"], "norm": out["norm"]}
                    row.update({f"loss/{n}": (sums[i] / counts[i]).item() for i, n in enumerate(names) if counts[i]})
                    row.update(
                        timesteps_per_s=timesteps / (now - logged),
                        tokens_per_s=tokens / (now - logged),
                        learning_rate=self.optimisers[0].param_groups[0]["lr"],
                    )
                    log.write(json.dumps(row) + "\n")
                    for key, value in row.items():
                        if key != "step":
                            board.add_scalar(key, value, self.step)
                    display.update(row, self.elapsed if config.seconds else self.step)
                    sums, counts, timesteps, tokens, logged = torch.zeros_like(sums), torch.zeros_like(counts), 0, 0, now
                if time.monotonic() - saved > config.checkpoint_every or self.finished:
                    save_state(self.state_path, self.model, self.optimisers, self.step, self.elapsed)
                    saved = time.monotonic()
        self.model.eval()
