"""How much of what tells tasks apart in hidden states is the network's, and how much lies in what it reads (docs/figures.md).

    python benchmarks/hidden_states.py CHECKPOINT --root FOLDER --data DATASET… [--episodes 10]

In how many episodes the nearest other one is of the same task: by mean hidden states of the checkpoint, of the same network untrained, and
by the mean of the observed numbers themselves, each in its standard deviations over all episodes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.datasets.open import find_dataset
from opengato.datasets.reading import Reading
from opengato.evaluation.hidden_states import POSITIONS, chance_accuracy, mean_hidden_states, nearest_neighbour_accuracy
from opengato.model.gato import Gato


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--data", nargs="+", required=True, help="of one observation space of numbers")
    parser.add_argument("--episodes", type=int, default=10)
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.checkpoint)
    datasets = [find_dataset(name, Reading(options.root)) for name in options.data]
    torch.manual_seed(0)
    untrained = replace(checkpoint, model=Gato(checkpoint.model.config).eval())
    for positions in (POSITIONS, 1):
        for name, of in (("trained", checkpoint), ("untrained", untrained)):
            found = mean_hidden_states(of, datasets, options.episodes, positions)
            print(f"{name}, {positions} positions: {nearest_neighbour_accuracy(found.states, found.tasks):.1%}", flush=True)
        seen = [np.asarray(e.observations)[:positions].mean(0) for data in datasets for e in islice(data.episodes(), options.episodes)]
        numbers = (np.stack(seen) - np.mean(seen, 0)) / (np.std(seen, 0) + 1e-6)
        print(f"observed numbers, {positions} timesteps: {nearest_neighbour_accuracy(numbers, found.tasks):.1%}", flush=True)
    print(f"{len(found.tasks)} episodes; by chance {chance_accuracy(found.tasks):.1%}")


if __name__ == "__main__":
    main()
