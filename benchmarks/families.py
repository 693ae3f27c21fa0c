"""The paper's model against the folded one, of equal parameters, for equal time: timesteps a second, held-out loss and score.

    python benchmarks/families.py [--seconds 300] [--episodes 10] [--folder runs/benchmarks] [--json]

Both train on the same three domains (`small_mixture.py`: BabyAI, Meta-World, DM Control), 2,048 positions a step, bfloat16 autocast: the
`gato` one as the paper has it (1,024 tokens, AdamW, cosine), but with a rate and a warm-up for a run this short; `swift-nano` with its own
recipe. Its blocks are as many as make the parameters equal. Loss is plain cross-entropy of the experts' own actions in held-out episodes,
nats a number; the `gato` family sees an action's first numbers when it predicts its last, `swift` does not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from small_mixture import CONTROL, held_out_loss, open_data, scores, train

from opengato.model.config import ModelConfig, preset
from opengato.model.gato import Gato
from opengato.training.loop import TrainConfig
from opengato.training.optimiser import PAPER, SWIFT

POSITIONS = 2048


def equal_gato(swift: ModelConfig) -> ModelConfig:
    """The gato of the same width and heads whose blocks bring it nearest to the parameters of `swift`."""

    def parameters(config: ModelConfig) -> int:
        with torch.device("meta"):
            return Gato(config).parameter_count()

    shapes = [
        replace(swift, family="gato", blocks=blocks, context=1024, set_width=0, patches_per_position=0, stochastic_depth=0.1)
        for blocks in range(1, 40)
    ]
    return min(shapes, key=lambda config: abs(parameters(config) - parameters(swift)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--preset", default="swift-nano")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    data = open_data(a.folder, CONTROL)
    swift = preset(a.preset)
    rows = []
    for config in (equal_gato(swift), swift):
        optimiser = replace(PAPER, learning_rate=1e-3, warmup=50) if config.family == "gato" else SWIFT
        training = TrainConfig(batch=POSITIONS // config.context, seconds=a.seconds, optimiser=optimiser)
        with tempfile.TemporaryDirectory() as run:
            trainer, row = train(data, config, training, Path(run))
        trainer.model.eval()
        rows.append(
            {
                "family": config.family,
                "blocks": config.blocks,
                "parameters": trainer.model.parameter_count(),
                **row,
                "loss": held_out_loss(trainer, data),
                "score": scores(trainer, data, a.episodes, CONTROL),
            }
        )
    if a.json:
        print(json.dumps(rows, indent=1))
        return
    columns = [*data.domains, "mean"]
    print(f"| family | blocks | parameters | steps | timesteps/s | {' | '.join(f'loss {c}' for c in columns)} | score |")
    print("|---" * (len(columns) + 6) + "|")
    for r in rows:
        losses = " | ".join(f"{r['loss'][c]:.2f}" for c in columns)
        print(
            f"| {r['family']} | {r['blocks']} | {r['parameters']:,} | {r['steps']} | {r['timesteps_per_s']:,.0f} | {losses} | "
            f"{r['score']['mean']:.0f} |"
        )
    print(f"\nswift trains on {rows[1]['timesteps_per_s'] / rows[0]['timesteps_per_s']:.0f} times the timesteps a second")
    print("\n| task | gato score | swift score |\n|---|---|---|")
    for task in CONTROL:
        print(f"| {task} | {rows[0]['score'][task]:.0f} | {rows[1]['score'][task]:.0f} |")


if __name__ == "__main__":
    main()
