"""What the two cameras of RGB Stacking see, a row for each test triplet, at four times of an expert's episode:

scripts/in-env python scripts/make_stacking_sheet.py docs/rgb-stacking.png
"""

import sys

import numpy as np
from PIL import Image

from opengato.domains.rgb_stacking.environment import SIDE, Stacking
from opengato.domains.rgb_stacking.expert import StackingExpert
from opengato.domains.rgb_stacking.objects import TEST_TRIPLETS, Triplet
from opengato.domains.rgb_stacking.scene import CAMERAS

TIMES, SEED = (0, 75, 105, 160), 0


def strip(triplet: Triplet) -> np.ndarray:
    """(128, 1024, 3): the left and the right camera, at each time."""
    env = Stacking("red", "blue", triplet, cameras=False)  # which draws no more than what is shown
    observation, _ = env.reset(seed=SEED)
    expert = StackingExpert(first=0, later=0)  # at this seed the first plan works
    expert.reset(env, observation, SEED)
    shown = []
    for step in range(TIMES[-1] + 1):
        if step in TIMES:
            shown += [env._draw(f"basket/{camera}", SIDE, SIDE) for camera in CAMERAS]
        observation, *_ = env.step(expert.act(observation))
    env.close()
    return np.concatenate(shown, 1)


def main(path: str) -> None:
    rows = [strip(triplet) for triplet in TEST_TRIPLETS]
    Image.fromarray(np.concatenate(rows)).quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
