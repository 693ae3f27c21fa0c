"""What a domain's tasks look like to an agent: a sheet of pictures, a row a task.

    python benchmarks/contact_sheet.py dm-control-pixels --out docs/dm-control-pixels.png

Each row shows one episode at its first timestep and at some later ones, of random actions or with `--expert` of the expert's. Of a domain
that is seen as numbers, what `render()` draws. Look at it for what the action depends on: is the target in the picture, and the
hand, and are they told apart?
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw

from opengato.domains import match_tasks


@dataclass
class Sheet:
    """Draw a contact sheet."""

    tasks: tyro.conf.Positional[list[str]]
    """Tasks, domains or shell patterns."""
    out: Path = Path("sheet.png")
    steps: list[int] = field(default_factory=lambda: [0, 20, 60, 120])
    """Timesteps that are shown."""
    side: int = 96
    """Pixels of a picture's side on the sheet."""
    columns: int = 2
    """Episodes beside each other."""
    seed: int = 0
    expert: bool = False
    """Let the experts act, where there are any: planners take their time."""


def strip(task, steps: list[int], side: int, seed: int, played: bool) -> Image.Image:
    """One episode: the task's name, and its pictures beside each other."""
    env = task.make()
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    expert = task.make_expert() if played and task.make_expert is not None else None
    if expert is not None:
        expert.reset(env, observation, seed)
    row = Image.new("RGB", (side * len(steps), side + 14), "white")
    ImageDraw.Draw(row).text((2, 1), task.id.split("/")[1], fill="black")
    for step in range(steps[-1] + 1):
        if step in steps:
            seen = observation if isinstance(observation, np.ndarray) and observation.ndim == 3 else env.render()
            picture = Image.fromarray(seen).resize((side, side), Image.Resampling.NEAREST)
            row.paste(picture, (side * steps.index(step), 14))
        action = env.action_space.sample() if expert is None else expert.act(observation)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    env.close()
    return row


def main(sheet: Sheet) -> None:
    rows = []
    for task in match_tasks(sheet.tasks):
        rows.append(strip(task, sheet.steps, sheet.side, sheet.seed, sheet.expert))
        print(task.id, flush=True)
    width, height = rows[0].size
    down = -(-len(rows) // sheet.columns)
    whole = Image.new("RGB", (sheet.columns * (width + 8) - 8, down * height), "white")
    for k, row in enumerate(rows):
        whole.paste(row, ((k // down) * (width + 8), (k % down) * height))
    whole.save(sheet.out, optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Sheet))
