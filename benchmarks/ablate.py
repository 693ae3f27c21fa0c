"""What `swift-*` is made of, one part changed at a time: loss and success after equal wall time on the same demonstrations.

    python benchmarks/ablate.py [--seconds 60] [--episodes 10] [--seeds 0 1 2] [--folder runs/ablate] [--only NAME …] [--out FILE]

Every variant is `swift-nano` but for what its row says, trained for so many seconds on one core, as many variants at a time as there are
cores. `arm`: four tasks of Meta-World, 60 demonstrations each, success; `grid`: two of BabyAI, 1,500 each, score, at most 100; `past`: two
of BabyAI where one must know what one has done already, 1,000 each, score, at most 100; `fifty`: all of Meta-World, 60 demonstrations each,
success; `hard` in a row is that on the twenty tasks that are the hardest to learn, and as a part those alone; `hard-without-noise`: from
demonstrations in which no action was random. `words`: the captions, questions, texts and talk that come along, nats a token of those kept
from training.
The loss is that of training, over the last steps. Rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rows import run_rows, write_row
from torch import nn
from torch.optim.swa_utils import AveragedModel

from opengato.collection import collect, dataset_id
from opengato.datasets.open import open_dataset
from opengato.domains import get_task
from opengato.domains.metaworld import NAMES
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.mixture import packing
from opengato.model import action_head, embedding, gato
from opengato.model.batch import Batch
from opengato.model.config import ModelConfig
from opengato.model.losses import linear_cross_entropy, soft_cross_entropy
from opengato.model.norm import RMSNorm
from opengato.policy import engine
from opengato.recipes import PAPER_SAMPLING, recipe
from opengato.tokens.continuous import mu_law
from opengato.tokens.statistics import standardise
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_NUMBERS, BIN_START, BINS
from opengato.training import loop, train
from opengato.training.train import make_checkpoint, make_model, make_trainer, preset

# Below 100% after four minutes of an earlier network, or of the MLP.
HARD = """assembly basketball bin-picking box-close coffee-push disassemble door-close hand-insert lever-pull peg-insert-side
pick-out-of-hole pick-place pick-place-wall push push-back reach reach-wall soccer stick-pull sweep-into""".split()
TASKS = {
    "arm": ["metaworld/dial-turn", "metaworld/handle-pull", "metaworld/pick-place", "metaworld/assembly"],
    "grid": ["babyai/go-to-local", "babyai/pickup-loc"],
    "past": ["babyai/open-red-blue-doors", "babyai/open-doors-order-n2"],
    "fifty": [f"metaworld/{name}" for name in NAMES],
    "hard": [f"metaworld/{name}" for name in HARD],
    "hard-without-noise": [f"metaworld/{name}" for name in HARD],
    "words": [],
}
WORDS = ("captions/emoji", "questions/emoji", "text/plain", "dialogue/chitchat")
EPISODES = {"arm": 60, "grid": 1500, "past": 1000, "fifty": 60, "hard": 60, "hard-without-noise": 60}
NOISE = {"arm": 0.15, "grid": 0.0, "past": 0.0, "fifty": 0.15, "hard": 0.15, "hard-without-noise": 0.0}


def bin_features(tokens: torch.Tensor, width: int) -> torch.Tensor:
    """Cosines and sines of bins' centres, from 1/8 to 10 half periods a unit: (N,) ids to (N, width), of mean square 1."""
    centre = (tokens - BIN_START + 0.5) * (2 / BINS) - 1
    angle = centre[:, None] * torch.exp(torch.linspace(math.log(0.125), math.log(10.0), width // 2)) * math.pi
    return torch.cat([angle.cos(), angle.sin()], -1) * math.sqrt(2)


def added_places(self: embedding.SetEmbedding, batch: Batch) -> torch.Tensor:
    """`SetEmbedding.forward` as it was: a place is added to a member, and both go through a GELU."""
    token = self.tokens(batch.pair_tokens) / embedding.TABLE_STD
    is_bin = (batch.pair_tokens >= BIN_START) & (batch.pair_tokens < BIN_START + BINS)
    members = self.member(torch.where(is_bin[:, None], bin_features(batch.pair_tokens, token.shape[-1]), token))
    pair = F.gelu(members + 0.5 * self.index(batch.pair_local), approximate="tanh")
    x = F.embedding_bag(batch.members, pair, batch.starts, mode="sum")[: batch.segments.numel()]
    if len(batch.numbers):
        x = x.index_add(0, batch.number_positions, self.see(batch.numbers, batch.number_counts).to(x.dtype))
    x = self.out(F.gelu(self.hidden(self.norm(x.float())), approximate="tanh"))
    return x.view(*batch.segments.shape, -1)


def places_added() -> None:
    embedding.SetEmbedding.forward = added_places  # type: ignore[method-assign]


def numbers_as_members() -> None:
    places_added()
    ModelConfig.sees_values = property(lambda self: False)  # type: ignore[assignment,method-assign]
    packing.decorrelate = lambda tokens, statistics: np.zeros(0, np.float32)


def not_standardised() -> None:
    packing.decorrelate = engine.decorrelate = lambda tokens, statistics: mu_law(standardise(tokens, None)).astype(np.float32)


def correlated() -> None:
    packing.decorrelate = engine.decorrelate = standardise


def deviation(rows: float) -> Callable[[], None]:
    """Targets so many scored bins wide, or one bin."""

    def patch() -> None:
        gato.soft_cross_entropy = (
            (lambda hidden, targets, table: soft_cross_entropy(hidden, targets, table, rows))
            if rows
            else (lambda hidden, targets, table: linear_cross_entropy(hidden, targets.round().long(), table))
        )

    return patch


def every_bin() -> None:
    """Scores of all 1,024 bins, as it was, with targets four bins wide."""
    action_head.SPACING, action_head.KNOTS, gato.SPACING = 1, BINS, 1
    deviation(4.0)()


class AddedHead(nn.Module):
    """`ActionHead` as it was: an index is added to the state, and both go through a GELU."""

    def __init__(self, width: int):
        super().__init__()
        self.state, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.query, self.norm = nn.Embedding(256, width), RMSNorm(width)
        nn.init.normal_(self.query.weight, std=0.5)

    def forward(self, hidden: torch.Tensor, positions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        mixed = F.gelu(self.state(hidden)[positions] + self.query(index), approximate="tanh")
        return self.norm((hidden[positions] + self.out(mixed)).to(self.norm.weight.dtype))


def windows_alike() -> None:
    """As many windows of one timestep where a past is needed as elsewhere."""
    train.long_only = lambda datasets, sampling: ()  # type: ignore[assignment]


def added_head() -> None:
    gato.ActionHead = AddedHead  # type: ignore[misc,assignment]


class HeadInOrder(action_head.ActionHead):
    """`ActionHead` whose answer to a number of an action hangs on those before it, as the paper's tokens do.

    `before`: values from -1 to 1 of the numbers before each that is asked for, (N, numbers), zeros after them.
    """

    before: torch.Tensor | None = None

    def __init__(self, width: int):
        super().__init__(width)
        self.earlier, self.heard = nn.Linear(ACTION_NUMBERS, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, hidden: torch.Tensor, positions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """As `ActionHead.forward`."""
        assert self.before is not None
        said = self.heard(F.gelu(self.earlier(self.before.to(hidden.dtype)) + hidden.index_select(0, positions), approximate="tanh"))
        return self.norm(((hidden.index_select(0, positions) + said) * self.index(index)).to(self.norm.weight.dtype))


def values_before(targets: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Numbers of actions in a row, as bins (N,) of ranks (N,), to those before each of its own action."""
    centre = (targets + 0.5) * (2 / BINS) - 1
    before = torch.zeros(len(targets), ACTION_NUMBERS)
    for back in range(1, int(index.max()) + 1):
        later = torch.nonzero(index >= back).squeeze(1)
        before[later, index[later] - back] = centre[later - back]
    return before


def numbers_in_order() -> None:
    """The first number of an action, then the second given the first, and so on, each the likeliest; for actions of numbers alone."""
    forward, logits = gato.Gato.forward, gato.Gato.logits
    gato.ActionHead = HeadInOrder  # type: ignore[misc]

    def training(self: gato.Gato, batch: Batch) -> torch.Tensor:
        self.actions.before = values_before(batch.targets - BIN_START, batch.target_index)  # type: ignore[union-attr]
        return forward(self, batch)

    def acting(self: gato.Gato, hidden: torch.Tensor, start: int, stop: int, index: torch.Tensor | None = None) -> torch.Tensor:
        assert self.actions is not None and index is not None
        chosen = torch.zeros(len(hidden), dtype=torch.int64)
        for _ in range(int(index.max()) + 1):  # each round settles one number more of every action
            self.actions.before = values_before(chosen, index)
            scores = logits(self, hidden, start, stop, index)
            chosen = scores.argmax(-1)
        return scores

    gato.Gato.forward, gato.Gato.logits = training, acting  # type: ignore[method-assign]


def weights_averaged(share: float) -> Callable[[], None]:
    """The mean of the weights over the last `share` of the seconds is what acts."""

    def patch() -> None:
        step, run_all = loop.Trainer.train_step, loop.Trainer.run

        def train_step(self: loop.Trainer, batches: list[Batch]) -> loop.Measured:
            out = step(self, batches)
            if self.elapsed > (1 - share) * self.config.seconds:  # type: ignore[operator]
                if not hasattr(self, "mean"):
                    self.mean = AveragedModel(self.model)  # type: ignore[attr-defined]
                self.mean.update_parameters(self.model)  # type: ignore[attr-defined]
            return out

        def run_and_average(self: loop.Trainer, show: bool = True) -> None:
            run_all(self, show)
            self.model.load_state_dict(self.mean.module.state_dict())  # type: ignore[attr-defined]

        loop.Trainer.train_step, loop.Trainer.run = train_step, run_and_average  # type: ignore[method-assign]

    return patch


@dataclass(frozen=True)
class Variant:
    """What one row changes: fields of the model, the optimiser, the sampling and the training, weights of tasks, code.

    action_steps: how many actions are taken from one look.
    """

    model: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    patch: Callable[[], None] = lambda: None
    action_steps: int = 1


# The paper's form with 8 million parameters outside the embeddings, and as much of its recipe as minutes allow.
GATO = {**asdict(preset("gato-79m")), "blocks": 5, "heads": 12, "width": 384, "feed_forward": 1536}
PAPER = {"optimiser": {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1}, "training": {"batch": 2}}
PAPER_WINDOWS = asdict(PAPER_SAMPLING)
SHORT_WINDOWS = {"model": {**GATO, "standardised": True, "moments": 8}}
VARIANTS = {
    "swift-nano": Variant(),
    "the paper's form, 8M": Variant(GATO, sampling=PAPER_WINDOWS, **PAPER),
    "the paper's form, 8M, standardised numbers": Variant({**GATO, "standardised": True}, sampling=PAPER_WINDOWS, **PAPER),
    "the paper's form, 8M, standardised, moments, short windows": Variant(**SHORT_WINDOWS, **PAPER),
    "the paper's form, 8M, standardised, moments, short windows, Muon": Variant(**SHORT_WINDOWS, training={"batch": 2}),
    "numbers as members: bins, places added": Variant(patch=numbers_as_members),
    "numbers not standardised": Variant(patch=not_standardised),
    "numbers standardised, correlations left in": Variant(patch=correlated),
    "an action's numbers told apart by a sum and a GELU": Variant(patch=added_head),
    "scores of all 1,024 bins": Variant(patch=every_bin),
    "grids as sums of their symbols": Variant({"glances": 0}),
    "four glances": Variant({"glances": 4}),
    "a score for every word": Variant({"word_stride": 1}),
    "single timesteps, too, where a past is needed": Variant(patch=windows_alike),
    "past choices seen": Variant({"sees_choices": True}),
    "four actions predicted, one taken": Variant({"chunk": 4}),
    "four actions predicted, four taken": Variant({"chunk": 4}, action_steps=4),
    "one action predicted, four taken": Variant(action_steps=4),
    "an action's numbers in order": Variant(patch=numbers_in_order),
    "weights averaged over the last tenth": Variant(patch=weights_averaged(0.1)),
    "constant rate, weights averaged over the last fifth": Variant(optimiser={"schedule": "constant"}, patch=weights_averaged(0.2)),
    "constant rate": Variant(optimiser={"schedule": "constant"}),
    "the hardest tasks twice": Variant(weights={f"metaworld/{name}": 2.0 for name in HARD}),
    "192 wide": Variant({"width": 192, "heads": 3, "feed_forward": 768}),
    "256 wide, two blocks": Variant({"width": 256, "heads": 4, "feed_forward": 1024, "blocks": 2}),
    "prompts before a tenth": Variant(sampling={"prompt_share": 0.1}),
    "places added, through a GELU": Variant(patch=places_added),
    "long windows only": Variant(sampling={"short_share": 0.0}),
    "half of the windows short": Variant(sampling={"short_share": 0.5}),
    "short windows only": Variant(sampling={"short_share": 1.0}),
    "16 sequences a step": Variant(training={"batch": 16}),
    "4 sequences a step": Variant(training={"batch": 4}),
    "no prompts": Variant(sampling={"prompt_share": 0.0}),
    "prompts from the beginning or end": Variant({"moments": 0}),
    "episodes below half of the expert left out": Variant(sampling={"return_threshold": 0.5}),
    "targets one scored bin wide": Variant(patch=deviation(0)),
    "targets twice as wide": Variant(patch=deviation(2.0)),
    "AdamW, rate 1e-3": Variant(optimiser={"kind": "adamw", "learning_rate": 1e-3}),
    "Muon's rate halved": Variant(optimiser={"learning_rate": 1.1e-2}),
    "Muon's rate doubled": Variant(optimiser={"learning_rate": 4.4e-2}),
    "weight decay a tenth": Variant(optimiser={"weight_decay": 0.02}),
    "dropout 0.1": Variant({"dropout": 0.1}),
}


def recordings(folder: Path, part: str) -> Path:
    """Where the demonstrations of a part lie."""
    return folder / ("without-noise" if part == "hard-without-noise" else "") / "data"


def tokens_of(folder: Path, part: str) -> Path:
    """Where they lie tokenised."""
    return recordings(folder, part).with_name("cache")


def run(name: str, part: str, seed: int, seconds: float, episodes: int, folder: Path, out: Path) -> None:
    """One row, in a process of its own."""
    variant = VARIANTS[name]
    torch.set_num_threads(1)
    variant.patch()
    chosen = recipe("swift-nano")
    how = replace(chosen.train, seconds=seconds, seed=seed, checkpoint_every=1e9, **variant.training)
    how = replace(how, optimiser=replace(how.optimiser, **variant.optimiser))
    chosen = replace(chosen, train=how, sampling=replace(chosen.sampling, **variant.sampling))
    tokenizer, tasks = TextTokenizer.load(), [get_task(task) for task in TASKS[part]]
    names = WORDS if part == "words" else [dataset_id(task) for task in tasks]
    data = [open_dataset(name, tokenizer, recordings(folder, part), tokens_of(folder, part)) for name in names]
    if part == "words":
        chosen = replace(chosen, sampling=replace(chosen.sampling, validation_share=0.05))
    weights = {name: weight for name, weight in variant.weights.items() if name in TASKS[part]}
    model = make_model(replace(preset("swift-nano"), **variant.model), seed)
    trainer = make_trainer(model, data, {d.domain: 1.0 for d in data} | weights, chosen, out.with_suffix(".run"))
    trainer.run(show=False)
    log = [json.loads(line) for line in trainer.log_path.read_text().splitlines()]
    checkpoint = make_checkpoint(trainer, data, tokenizer)
    found = trainer.validate() if part == "words" else {}
    for task in tasks:
        prompt = variant.sampling.get("prompt_share") != 0.0
        done = rollout(checkpoint, task, episodes, prompt=prompt, action_steps=variant.action_steps)
        if part not in ("grid", "past"):
            found[task.id] = 100 * float(np.mean([bool(r.success) for r in done]))
        else:
            score = score_of(task, done).score
            found[task.id] = min(100.0, score) if score is not None else math.nan
    result = {
        "variant": name,
        "part": part,
        "seed": seed,
        "steps": trainer.step,
        "timesteps_per_s": float(np.mean([r["timesteps_per_s"] for r in log])),
        "loss": float(np.mean([r["loss"] if part == "words" else r[f"loss/{data[0].domain}"] for r in log[-5:]])),
        "tasks": found,
        "mean": found["validation/loss"] if part == "words" else float(np.mean(list(found.values()))),
        **({"hard": float(np.mean([found[f"metaworld/{name}"] for name in HARD]))} if part == "fifty" else {}),
    }
    write_row(result, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--parts", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--folder", type=Path, default=Path("runs/ablate"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(name: str, part: str, seed: int) -> Path:
        return a.folder / f"rows-{a.seconds:g}s-{a.episodes}" / f"{part}-{seed}-{re.sub('[^a-z0-9]+', '-', name.lower())}.json"

    if a.run:
        name, part, seed = a.run
        run(name, part, int(seed), a.seconds, a.episodes, a.folder, path(name, part, int(seed)))
        return
    tokenizer = TextTokenizer.load()
    for part in a.parts:
        tasks = [get_task(task) for task in TASKS[part]]
        missing = [task for task in tasks if not (recordings(a.folder, part) / dataset_id(task)).is_dir()]
        if missing:
            collect(missing, EPISODES[part], recordings(a.folder, part), noise=NOISE[part])
        for name in WORDS if part == "words" else [dataset_id(task) for task in tasks]:  # tokenised once, not by two rows at a time
            open_dataset(name, tokenizer, recordings(a.folder, part), tokens_of(a.folder, part))

    options = ["--seconds", str(a.seconds), "--episodes", str(a.episodes), "--folder", str(a.folder)]
    done = run_rows(__file__, [(name, part, seed) for seed in a.seeds for name in a.only for part in a.parts], path, options)
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n  ".join(json.dumps(row) for row in done)
        a.out.write_text(f'{{"seconds": {a.seconds}, "episodes": {a.episodes}, "rows": [\n  {lines}\n]}}\n')
    print(
        "| variant |"
        + "".join(f" {part}: timesteps/s | loss | {'nats' if part == 'words' else '%'} |" for part in a.parts)
        + "\n|---"
        + "|---" * 3 * len(a.parts)
        + "|"
    )
    for name in a.only:
        cells = ""
        for part in a.parts:
            same = [r for r in done if (r["variant"], r["part"]) == (name, part)]
            if same:
                speed, loss = (np.mean([r[key] for r in same]) for key in ("timesteps_per_s", "loss"))
                means = " ".join(f"{r['mean']:.{2 if part == 'words' else 0}f}" for r in same)
                cells += f" {speed:,.0f} | {loss:.2f} | {means} |"
            else:
                cells += " | | |"
        print(f"| {name} |{cells}")


if __name__ == "__main__":
    main()
