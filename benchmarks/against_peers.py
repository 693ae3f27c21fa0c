"""Tokens a second in training beside JAT's form, Hugging Face's GPT-2 and GPT-Neo, and litgpt's GPT, of equal width, depth and batch.

    pip install -c constraints.txt transformers litgpt
    python benchmarks/against_peers.py [--width 512] [--depth 6] [--batch 4] [--seconds 10] [--json]

Every model makes whole training steps (batch, forward, loss, backward, clipping, fused AdamW) in bfloat16 autocast on sequences of 1,024
positions, in turns, and its fastest of three turns counts. Two kinds of data: dense text, and control (two Meta-World tasks, two
BabyAI levels). "Tokens" are those of the paper's stream everywhere: the peers read one a position, as all of their users do, and take
their loss on the action tokens; `swift` folds many into a position. All have the same vocabulary of 33,025 ids.

"JAT's form" is on control data only (Gallouédec et al. 2024): GPT-Neo over two positions a timestep, what was observed and what was
done, with one linear head over the first, squared error for numbers and cross-entropy for a choice. Its embedding is cheaper than JAT's
own: one product for numbers, one sum of rows for everything else.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from train_step import TASKS, now

from opengato.collection import collect, dataset_id
from opengato.datasets.open import open_dataset
from opengato.domains import get_task
from opengato.mixture import Mixture, Sequence
from opengato.model.batch import Batch, collate
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.fold import Fold
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, ACTION_NUMBERS, BIN_START, BINS, DISCRETE_SIZE, VOCABULARY_SIZE

LENGTH = 1024
TURNS = 3
NUMBERS = 64  # observed numbers that the linear embedding takes


@dataclass
class Contender:
    """A model, the form of sequences that it reads, and its loss of a list of them."""

    model: torch.nn.Module
    fold: Fold
    loss: Callable[[list[Sequence]], torch.Tensor]
    length: int = LENGTH  # of the sequences that it is given


def rows(sequences: list[Sequence], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, L) and labels (B, L), -100 where there is nothing to predict: what a language model trains on."""
    ids = np.zeros((len(sequences), LENGTH), np.int64)
    labels = np.full((len(sequences), LENGTH), -100)
    for row, s in enumerate(sequences):
        inside = s.positions < LENGTH
        ids[row, s.positions[inside]] = s.tokens[inside]
        target = inside & s.predicted
        labels[row, s.positions[target]] = s.tokens[target]
    return torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device)


def ours(config: ModelConfig, device: torch.device) -> Contender:
    model = Gato(config).to(device)

    def loss(sequences: list[Sequence]) -> torch.Tensor:
        batch = collate(sequences, config).to(device)
        share = batch.shares()
        return (model(batch) * share).sum() / share.sum()

    return Contender(model, config.fold, loss)


def language_model(model: torch.nn.Module, logits: Callable[[Any], torch.Tensor], device: torch.device) -> Contender:
    model = model.to(device)

    def loss(sequences: list[Sequence]) -> torch.Tensor:
        ids, labels = rows(sequences, device)
        return F.cross_entropy(logits(model(ids))[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())

    return Contender(model, Fold(), loss)


class JatLike(torch.nn.Module):
    """Two positions a timestep around a body that takes embeddings and gives hidden states; the loss of folded sequences."""

    def __init__(self, body: torch.nn.Module, width: int):
        super().__init__()
        self.body = body
        self.numbers = torch.nn.Linear(NUMBERS, width)
        self.rows = torch.nn.Embedding(VOCABULARY_SIZE, width)
        self.head = torch.nn.Linear(width, ACTION_NUMBERS + DISCRETE_SIZE)

    def forward(self, batch: Batch) -> torch.Tensor:
        rows, length = batch.segments.shape
        seen = F.embedding_bag(batch.pair_tokens[batch.members], self.rows.weight, batch.starts, mode="sum")[: rows * length]
        numbers = F.pad(batch.numbers, (0, NUMBERS - batch.numbers.shape[1]))
        seen = seen.index_add(0, batch.number_positions, self.numbers(numbers).to(seen.dtype))
        at, target, index = batch.target_positions, batch.targets, batch.target_index
        did = torch.zeros_like(seen).index_add(0, at, self.rows(target).to(seen.dtype))
        both = torch.stack([seen, did], 1).view(rows, 2 * length, -1)
        hidden = self.body(inputs_embeds=both).last_hidden_state.view(rows * length, 2, -1)[:, 0]
        scores = self.head(hidden[at]).float()
        number = batch.target_kinds == ACTION_CONTINUOUS
        wanted = (target[number] - BIN_START) / (BINS / 2) - 1
        squared = torch.square(scores[number].gather(1, index[number, None])[:, 0] - wanted)
        chosen = F.cross_entropy(scores[~number][:, ACTION_NUMBERS:], target[~number], reduction="none")
        share = batch.shares()
        return ((squared * share[number]).sum() + (chosen * share[~number]).sum()) / share.sum()


def jat_like(body: torch.nn.Module, config: ModelConfig, device: torch.device) -> Contender:
    """Of half as many timesteps a sequence as `swift`, which are as many positions."""
    model = JatLike(body, config.width).to(device)
    return Contender(model, config.fold, lambda sequences: model(collate(sequences, config).to(device)), LENGTH // 2)


def contenders(kind: str, width: int, depth: int, heads: int, device: torch.device) -> dict[str, Contender]:
    """All that train on data of a kind, "text" or "control"."""
    from litgpt import GPT, Config
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM, GPTNeoModel

    key = width // heads
    gpt2 = GPT2Config(vocab_size=VOCABULARY_SIZE, n_positions=LENGTH, n_embd=width, n_layer=depth, n_head=heads, use_cache=False)
    neo = GPTNeoConfig(
        vocab_size=VOCABULARY_SIZE,
        max_position_embeddings=LENGTH,
        hidden_size=width,
        num_layers=depth,
        num_heads=heads,
        attention_types=[[["global"], depth]],
        use_cache=False,
    )
    lit = Config(
        name="peer", block_size=LENGTH, n_embd=width, n_layer=depth, n_head=heads, padded_vocab_size=VOCABULARY_SIZE, rotary_percentage=1.0
    )
    gato = ModelConfig("gato", depth, heads, width, 4 * width, key, context=LENGTH)
    swift = ModelConfig("swift", depth, heads, width, 4 * width, key, context=LENGTH, set_width=3 * width // 4, patches_per_position=8)
    found = {
        "opengato swift": ours(swift, device),
        "opengato gato": ours(gato, device),
        "GPT-2 (transformers)": language_model(GPT2LMHeadModel(gpt2), lambda out: out.logits, device),
        "GPT-Neo (transformers)": language_model(GPTNeoForCausalLM(neo), lambda out: out.logits, device),
        "GPT (litgpt)": language_model(GPT(lit), lambda out: out, device),
    }
    if kind == "control":
        found["JAT's form (GPT-Neo)"] = jat_like(GPTNeoModel(neo), swift, device)
    return found


def turn(contender: Contender, mixture: Mixture, batch: int, seconds: float, optimiser: torch.optim.Optimizer) -> tuple[float, float]:
    """Tokens and timesteps a second over `seconds` of training, after one step that is not timed."""
    device = next(contender.model.parameters()).device
    tokens = timesteps = step = 0
    started = now(device)
    while not step or now(device) - started < seconds:
        sequences = [mixture.sequence(step * batch + row) for row in range(batch)]
        with torch.autocast(device.type, torch.bfloat16):
            loss = contender.loss(sequences)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(contender.model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step:
            tokens += sum(len(s.tokens) for s in sequences)
            timesteps += sum(s.timesteps for s in sequences)
        else:
            started = now(device)
        step += 1
    spent = now(device) - started
    return tokens / spent, timesteps / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--data", nargs="+", choices=("text", "control"), default=("text", "control"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = []
    with tempfile.TemporaryDirectory() as folder:
        root, tokenizer = Path(folder), TextTokenizer.load()
        collect([get_task(t) for t in TASKS], {t: 100 if t.startswith("babyai") else 10 for t in TASKS}, root / "data", progress=False)
        names = {"text": ["text/plain"], "control": [dataset_id(get_task(t)) for t in TASKS]}
        data = {kind: [open_dataset(n, tokenizer, root / "data", root / "cache") for n in names[kind]] for kind in arguments.data}
        for kind, datasets in data.items():
            models = contenders(kind, arguments.width, arguments.depth, arguments.heads, device)
            optimisers = {name: torch.optim.AdamW(c.model.parameters(), lr=1e-4, fused=True) for name, c in models.items()}
            weights = dict.fromkeys({d.domain for d in datasets}, 1.0)
            best = dict.fromkeys(models, (0.0, 0.0))
            for _ in range(TURNS):
                for name, contender in models.items():
                    mixture = Mixture(datasets, weights, contender.length, contender.fold, seed=0)
                    done = turn(contender, mixture, arguments.batch, arguments.seconds, optimisers[name])
                    best[name] = max(best[name], done)
            peer = max(timesteps for name, (_, timesteps) in best.items() if not name.startswith("opengato"))
            for name, (tokens, timesteps) in best.items():
                parameters = sum(p.numel() for p in models[name].model.parameters())
                table.append(
                    {
                        "data": kind,
                        "model": name,
                        "parameters": parameters,
                        "tokens_per_s": tokens,
                        "timesteps_per_s": timesteps,
                        "to_best_peer": timesteps / peer,
                    }
                )
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    if arguments.json:
        print(json.dumps({"device": where, "rows": table}, indent=1))
        return
    print(f"{'data':10}{'model':26}{'parameters':>14}{'tokens/s':>12}{'timesteps/s':>14}{'to best peer':>14}")
    for r in table:
        print(
            f"{r['data']:10}{r['model']:26}{r['parameters']:14,}{r['tokens_per_s']:12,.0f}{r['timesteps_per_s']:14,.1f}{r['to_best_peer']:14.2f}"
        )
    print(where)


if __name__ == "__main__":
    main()
