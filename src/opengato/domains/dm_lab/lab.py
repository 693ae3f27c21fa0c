"""A level of DeepMind Lab as an environment, by the Python interface that its docs/users/python_api.md describes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.dm_lab.levels import ACTION_SPACE, ACTIONS, HEIGHT, OBSERVATION_SPACE, WIDTH
from opengato.errors import OpenGatoError

FRAMES = 4  # of the Lab, for which an action is held
_FPS = 60
_LONGEST = 10 * 60 * _FPS // FRAMES  # steps: ten minutes, which no level of the Lab's own takes
_PICTURE, _INSTRUCTION = "RGB_INTERLEAVED", "INSTR"
_EPISODE = 1  # the Lab would count them, and some levels differ by it: an episode is to depend on its seed alone
_SEEDS = 2**31


def _check(level: str, spec: list[dict[str, Any]]) -> None:
    """That the Lab takes the actions that we have. Raises OpenGatoError where it does not."""
    names = [entry["name"] for entry in spec]
    if names != list(ACTIONS):
        raise OpenGatoError(f"level {level!r} of deepmind_lab has the actions {names}, not {list(ACTIONS)}: use the Lab of 2019 or later")
    for entry, values in zip(spec, ACTIONS.values()):
        if min(values) < entry["min"] or max(values) > entry["max"]:
            limits = f"{entry['min']} to {entry['max']}"
            raise OpenGatoError(f"level {level!r} of deepmind_lab takes {entry['name']} from {limits}: {values} do not lie in there")


class LabLevel(gym.Env):
    """See `opengato.domains.dm_lab`. `level`: its path under game_scripts/levels. Raises OpenGatoError where the Lab has no such level."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": _FPS // FRAMES}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, level: str):
        import deepmind_lab

        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE
        config = {"width": str(WIDTH), "height": str(HEIGHT), "fps": str(_FPS)}  # strings all
        try:
            asked = deepmind_lab.Lab(level, [], config=config)
        except Exception as error:  # which kind the Lab raises, its documentation does not tell
            raise OpenGatoError(f"level {level!r} cannot be loaded by deepmind_lab: {' '.join(str(error).split())}") from error
        _check(level, asked.action_spec())
        offered = {entry["name"] for entry in asked.observation_spec()}
        asked.close()
        self._names = [_PICTURE, _INSTRUCTION] if _INSTRUCTION in offered else [_PICTURE]
        self._lab = deepmind_lab.Lab(level, self._names, config=config)
        self._seen: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        super().reset(seed=seed)
        number = int(self.np_random.integers(_SEEDS)) if seed is None else seed % _SEEDS
        self._lab.reset(episode=_EPISODE, seed=number)
        self._steps = 0
        self._look()
        return self._seen, {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict]:
        chosen = np.array([values[int(number)] for values, number in zip(ACTIONS.values(), action, strict=True)], np.intc)
        reward = float(self._lab.step(chosen, num_steps=FRAMES))
        self._steps += 1
        over = not self._lab.is_running()
        if not over:  # after the end there is nothing to be seen: what was seen last stays
            self._look()
        return self._seen, reward, over, not over and self._steps >= _LONGEST, {}

    def _look(self) -> None:
        found = self._lab.observations()
        said = found.get(_INSTRUCTION, "")
        self._seen = {"image": np.array(found[_PICTURE], np.uint8), "instruction": said if isinstance(said, str) else str(said, "utf-8")}

    def render(self) -> np.ndarray:
        """What the agent sees, uint8 (72, 96, 3)."""
        return self._seen["image"].copy()

    def close(self) -> None:
        self._lab.close()
