"""The first-person tasks at a glance, each as its agent sees it some steps into an expert's episode:

scripts/in-env python scripts/make_first_person_sheet.py docs/first-person.png
"""

import sys

import numpy as np
from PIL import Image, ImageDraw

from opengato.domains import get_task, match_tasks
from opengato.domains.vizdoom.explore import MAPS

COLUMNS, STEPS = 10, 12
EXPLORED = ["explore-e1m1", "explore-e2m2", "explore-map01", "explore-map15"]


def picture(task_id: str) -> np.ndarray:
    """(60, 80, 3): what is seen after some of the expert's steps; before the last one, where an episode is shorter."""
    task = get_task(task_id)
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=3)
    expert.reset(env, observation, 3)
    for _ in range(STEPS):
        following, _, terminated, truncated, _ = env.step(expert.act(observation))
        if terminated or truncated:
            break
        observation = following
    env.close()
    if isinstance(observation, dict):
        observation = observation.get("image", observation.get("obs"))
    return observation


def main(path: str) -> None:
    left_out = {f"vizdoom/{name}" for name in MAPS} - {f"vizdoom/{name}" for name in EXPLORED}
    names = [task.id for task in match_tasks(["miniworld", "playroom", "vizdoom"]) if task.id not in left_out]
    rows = -(-len(names) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * 86 + 6, rows * 80 + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for i, name in enumerate(names):
        x, y = 6 + i % COLUMNS * 86, 6 + i // COLUMNS * 80
        sheet.paste(Image.fromarray(picture(name)), (x, y))
        draw.text((x, y + 61), name.split("/")[1].replace("explore-", "")[:15], fill="black", font_size=9)
    sheet.quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
