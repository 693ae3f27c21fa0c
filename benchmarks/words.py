"""What an agent's words are worth on what `opengato data build` holds out, beside the simplest writers: part by part, and together.

    opengato data build --out mix
    python benchmarks/words.py mix runs/words/checkpoint [--parts speeches …] [--samples 500] [--seeds 0 1 2] [--text-read N]
        [--no-baselines] [--out FILE]

The second argument is a checkpoint folder, or the name of weights that come along. All that is held out is scored, but of each part's
questions the first `--samples`; all captions, and all questions that captions answer, are scored as one set, too. The simplest writers
learn from all that is trained on, read or not. Captions are sampled at 0.9, once a seed: their scores are the mean over the seeds, with the
least and most. Texts of several parts together are bits over bytes, summed. The first five of each part are shown with what the agent says,
not picked.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.corpus import build
from opengato.datasets.dataset import Dataset
from opengato.datasets.open import find_dataset
from opengato.episode import Episode, map_leaves
from opengato.errors import OpenGatoError
from opengato.evaluation.language import Row, kind_of, score, task_of
from opengato.evaluation.ngrams import KneserNey
from opengato.policy.language import speak
from opengato.policy.policy import Policy
from opengato.pretrained import agent_folder
from opengato.tokens.vocabulary import TEXT_SIZE

EVERYTHING = 10**7
_SHOWN = 5
TEXT = "texts"


@dataclass(frozen=True)
class Joined:
    """Several datasets of the same spaces as one, one after the other."""

    name: str
    parts: tuple[Dataset, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parts[0], name)

    def episodes(self) -> Iterator[Episode]:
        for number, part in enumerate(self.parts):
            for episode in part.episodes():
                if "picture" in episode.info:  # they are numbered in each alike
                    episode.info = {**episode.info, "picture": (number, episode.info["picture"])}
                yield episode


def joined(held_out: dict[str, Dataset]) -> dict[str, Dataset]:
    """All captions as one, and all questions that captions answer."""
    captions = tuple(d for d in held_out.values() if kind_of(d) == "captions")
    derived = tuple(held_out[name] for name in build.DERIVED if name in held_out)
    found = {"captions": captions, "derived questions": derived}
    return {name: Joined(name, parts) for name, parts in found.items() if len(parts) > 1}


def size_of(dataset: Dataset) -> int:
    return sum(len(text.encode()) for episode in dataset.episodes() for text in episode.actions)


def said(agent: Checkpoint, dataset: Dataset) -> list[tuple[str, str, str]]:
    """The first few of a dataset, not picked: what was asked or said to the agent, what it answers, and what people did."""
    policy, found = Policy(agent, temperature=0.0 if kind_of(dataset) == "questions" else 0.9, seed=0), []
    for episode in islice(dataset.episodes(), _SHOWN):
        policy.reset(task_of(agent, dataset))
        first = map_leaves(lambda leaf: leaf[0] if isinstance(leaf, list) else np.asarray(leaf)[0], episode.observations)
        heard = first if isinstance(first, str) else first.get("question", "")
        found.append((heard, speak(policy, first), episode.actions[0]))
    return found


def as_much_as_read(agent: Checkpoint, trained_on: dict[str, Dataset], held_out: dict[str, Dataset], tokens: int) -> list[Row]:
    """Kneser-Ney's 5-gram of so many tokens of text: of every part a share as the square root of its documents, as `--size-power 0.5`
    draws them, whole documents at random, each once. The agent reads some twice, so that this is no less than it saw."""
    rng, tokenizer, kept = np.random.default_rng(0), agent.tokenizer, []
    documents = {name: [text for e in d.episodes() for text in e.actions] for name, d in trained_on.items()}
    total = sum(len(texts) ** 0.5 for texts in documents.values())
    for texts in documents.values():
        left = int(tokens * len(texts) ** 0.5 / total)
        for number in rng.permutation(len(texts)):
            kept.append(np.append(tokenizer.encode(texts[number]), tokenizer.eos)[:left])
            left -= len(kept[-1])
            if left <= 0:
                break
    model, rows = KneserNey(kept, TEXT_SIZE, 5), []
    for name, d in held_out.items():
        texts = [text for e in d.episodes() for text in e.actions]
        nats = sum(float(model.nats(np.append(tokenizer.encode(text), tokenizer.eos)).sum()) for text in texts)
        rows.append(Row(name, "5-gram of as much as was read", len(texts), {"bits a byte": nats / math.log(2) / size_of(d)}))
    return rows


def over_seeds(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows of several seeds, one for each who scored on each dataset: the mean of every score, and the least and most where they differ."""
    found = []
    for dataset, who in dict.fromkeys((row.dataset, row.who) for row in rows):
        same = [row for row in rows if (row.dataset, row.who) == (dataset, who)]
        scores = {name: [row.scores[name] for row in same] for name in same[0].scores}
        row = asdict(same[0]) | {"scores": {name: float(np.mean(values)) for name, values in scores.items()}}
        spread = {name: [min(values), max(values)] for name, values in scores.items() if max(values) > min(values)}
        found.append(row | ({"over_seeds": spread} if spread else {}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path)
    parser.add_argument("checkpoint")
    parser.add_argument("--parts", nargs="+", default=build.names())
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--text-read", type=float, help="tokens of text that the agent read: a 5-gram of as many stands beside it")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    agent = Checkpoint.load(agent_folder(a.checkpoint))
    parts = [name for name in a.parts if (a.mix / name).is_dir()]
    held_out, trained_on = ({name: find_dataset(build.spelling(a.mix, name, side)) for name in parts} for side in ("test", "train"))
    rows: list[dict[str, Any]] = []

    def show(found: list[dict[str, Any]]) -> None:
        for row in found:
            rows.append(row | {"dataset": names.get(row["dataset"], row["dataset"])})
            scores = "   ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
            print(f"{rows[-1]['dataset']}, {row['count']}: {row['who']:24} {scores}", flush=True)

    every = held_out | joined(held_out)
    names = {dataset.name: part for part, dataset in every.items()}
    for kind in dict.fromkeys(map(kind_of, every.values())):
        alike = [dataset for dataset in every.values() if kind_of(dataset) == kind]
        try:
            _ = [task_of(agent, dataset) for dataset in alike]
        except OpenGatoError as error:
            print(f"{kind}: {error}")
            continue
        same = [Joined(kind, tuple(d for d in trained_on.values() if kind_of(d) == kind))] if not a.no_baselines else []
        few = [dataset for dataset in alike if kind == "questions" and not isinstance(dataset, Joined)]
        for of, samples in ((few, a.samples), ([dataset for dataset in alike if dataset not in few], EVERYTHING)):
            seeds = a.seeds if kind == "captions" else a.seeds[:1]
            # The simplest writers draw no lots: they are asked once.
            show(over_seeds([row for seed in seeds for row in score(agent, of, same if seed == seeds[0] else [], samples, seed=seed)]))
    if a.text_read:
        texts_of = [{name: d for name, d in side.items() if kind_of(d) == "text"} for side in (trained_on, held_out)]
        show([asdict(row) for row in as_much_as_read(agent, *texts_of, int(a.text_read))])
    samples_of = {name: said(agent, d) for name, d in held_out.items() if kind_of(d) in ("captions", "dialogue", "questions")}
    for name, spoken in samples_of.items():
        print(f"{name}: {json.dumps(spoken, ensure_ascii=False)}")
    texts = {name: size_of(d) for name, d in held_out.items() if kind_of(d) == "text"}
    for who in dict.fromkeys(row["who"] for row in rows if row["dataset"] in texts):
        of = [row for row in rows if row["dataset"] in texts and row["who"] == who]
        bits = sum(row["scores"]["bits a byte"] * texts[row["dataset"]] for row in of) / sum(texts[row["dataset"]] for row in of)
        show([{"dataset": TEXT, "who": who, "count": sum(row["count"] for row in of), "scores": {"bits a byte": bits}}])
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        about = json.dumps({"checkpoint": a.checkpoint, "bytes": texts, "first": samples_of})
        a.out.write_text(f'{about[:-1]}, "rows": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main()
