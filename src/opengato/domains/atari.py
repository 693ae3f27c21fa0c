"""Atari games (ALE), played by search on the emulator's own state."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Expert, Task
from opengato.experts.emulator_search import EmulatorSearch, SearchConfig

# Agent steps. The usual limit is 27,000 (half an hour of play); an expert that searches pays seconds for every hundred of them.
MAX_STEPS = 2_000
# At reset the seed draws 1 to 30 frames of doing nothing, as is usual, which alone would give thirty starts at most, and then up to
# eight random actions.
NO_OPS = 30
RANDOM_ACTIONS = 8
OBSERVATION_SPACE = spaces.Box(0, 255, (80, 64, 3), np.uint8)
ACTION_SPACE = spaces.Discrete(18)

# The 57 games of the usual benchmark.
GAMES = """alien amidar assault asterix asteroids atlantis bank_heist battle_zone beam_rider berzerk bowling boxing breakout centipede
chopper_command crazy_climber defender demon_attack double_dunk enduro fishing_derby freeway frostbite gopher gravitar hero ice_hockey
jamesbond kangaroo krull kung_fu_master montezuma_revenge ms_pacman name_this_game phoenix pitfall pong private_eye qbert riverraid
road_runner robotank seaquest skiing solaris space_invaders star_gunner surround tennis time_pilot tutankham up_n_down venture
video_pinball wizard_of_wor yars_revenge zaxxon""".split()


class Atari(gym.Env):
    """One game: 80×64 colour frames (paper), the full set of 18 actions, four frames an action.

    A frame is the brighter of the last two, since sprites flicker. Reset's seed draws the start.

    Args:
        sticky: the chance, at every frame, that the last action is repeated in place of the one that was chosen; 0.25 is usual
            (Machado et al. 2018), 0 makes a game depend on its start and the actions alone.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012
    render_mode = "rgb_array"
    frame_skip = 4

    def __init__(self, game: str, sticky: float = 0.0):
        import ale_py
        from ale_py import roms

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("random_seed", 0)
        rom: Any = roms.get_rom_path(game)
        self.ale.loadROM(rom)
        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE
        self._start = self.ale.cloneSystemState()
        self.sticky, self._last = sticky, 0
        self._steps = 0

    def _observation(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        from PIL import Image

        return np.asarray(Image.fromarray(np.maximum(before, after)).resize((64, 80), Image.Resampling.BOX))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.ale.restoreSystemState(self._start)
        self.ale.reset_game()
        for _ in range(int(self.np_random.integers(1, NO_OPS + 1))):
            self.ale.act(0)
        for action in self.np_random.integers(ACTION_SPACE.n, size=self.np_random.integers(RANDOM_ACTIONS + 1)):
            for _ in range(self.frame_skip):
                self.ale.act(int(action))
        self._steps = self._last = 0
        self._screen = self.ale.getScreenRGB()
        return self._observation(self._screen, self._screen), {"lives": self.ale.lives()}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = 0.0
        before = None
        for i in range(self.frame_skip):
            if not (self.sticky and self.np_random.random() < self.sticky):
                self._last = int(action)
            reward += self.ale.act(self._last)
            if i == self.frame_skip - 2:
                before = self.ale.getScreenRGB()
        self._screen = self.ale.getScreenRGB()
        assert before is not None
        self._steps += 1
        over = bool(self.ale.game_over())
        return (
            self._observation(before, self._screen),
            float(reward),
            over,
            not over and self._steps >= MAX_STEPS,
            {"lives": self.ale.lives()},
        )

    def render(self) -> np.ndarray:
        return self._screen  # the emulator's own is another one after a search, which restores its state and not its picture


def _make_expert(config: SearchConfig) -> Expert:
    return EmulatorSearch(config)


# Games whose reward comes late or early want another depth than the default. The emulator does what was foreseen, so that a plan of
# whose end nothing hangs can be played for long.
SEARCH: dict[str, SearchConfig] = {
    "freeway": SearchConfig(horizon=64, commit=16, lengths=(8, 16, 48)),
}


def _start(env: gym.Env) -> np.ndarray:
    world: Any = env.unwrapped
    return world.ale.getRAM()


def task(game: str, sticky: float = 0.0) -> Task:
    """A game of `GAMES` as a task, "atari/pong"; with sticky actions "atari/pong-sticky", a task of its own with scores of its own."""
    return Task(
        id=f"atari/{game.replace('_', '-')}{'-sticky' if sticky else ''}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(Atari, game, sticky),
        make_expert=partial(_make_expert, SEARCH.get(game, SearchConfig())),
        requires="ale_py",
        extra="atari",
        expert_name="search on the emulator's state",
        start=_start,
        few_starts=True,
    )


TASKS = [task(game) for game in GAMES]
