"""Atari games (ALE), played by search on the emulator's own state."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.atari_human import HUMANS
from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError
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

# The other games that ale-py brings, but for combat, joust, maze_craze and warlords, which need two players and end the process.
MORE_GAMES = """adventure air_raid atlantis2 backgammon basic_math blackjack carnival casino crossbow darkchambers donkey_kong earthworld
elevator_action entombed et flag_capture frogger galaxian hangman haunted_house human_cannonball journey_escape kaboom keystone_kapers
king_kong klax koolaid laser_gates lost_luggage mario_bros miniature_golf mr_do othello pacman pitfall2 pooyan sir_lancelot space_war
superman tetris tic_tac_toe_3d trondead turmoil video_checkers video_chess video_cube word_zapper""".split()


class Atari(gym.Env):
    """One game: 80×64 colour frames (paper), the full set of 18 actions, four frames an action.

    A frame is the brighter of the last two, since sprites flicker. Reset's seed draws the start.

    Args:
        sticky: the chance, at every frame, that the last action is repeated in place of the one that was chosen; 0.25 is usual
            (Machado et al. 2018), 0 makes a game depend on its start and the actions alone.
        max_steps: agent steps after which a game is cut.
        variants: draw one of the game's modes and difficulties for each episode; else they are the first ones, as usual.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012
    render_mode = "rgb_array"
    frame_skip = 4

    def __init__(self, game: str, sticky: float = 0.0, max_steps: int = MAX_STEPS, variants: bool = False):
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
        self.max_steps, self._steps = max_steps, 0
        self._variants = [(m, d) for m in self.ale.getAvailableModes() for d in self.ale.getAvailableDifficulties()] if variants else []
        self.variant: tuple[int, int] | None = None  # mode and difficulty, where they were drawn

    def _observation(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        from PIL import Image

        return np.asarray(Image.fromarray(np.maximum(before, after)).resize((64, 80), Image.Resampling.BOX))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.ale.restoreSystemState(self._start)
        if self._variants:
            self.variant = self._variants[int(self.np_random.integers(len(self._variants)))]
            self.ale.setMode(self.variant[0])
            self.ale.setDifficulty(self.variant[1])
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
            not over and self._steps >= self.max_steps,
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


def task(game: str, sticky: float = 0.0, max_steps: int = MAX_STEPS) -> Task:
    """A game as a task, "atari/pong"; otherwise played it is a task of its own, with scores of its own.

    With sticky actions it is "atari/pong-sticky", and with another limit "atari/pong,max_steps=27000"; 27,000 is the usual one.
    """
    return Task(
        id=f"atari/{game.replace('_', '-')}{'-sticky' if sticky else ''}{f',max_steps={max_steps}' if max_steps != MAX_STEPS else ''}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(Atari, game, sticky, max_steps),
        make_expert=partial(_make_expert, SEARCH.get(game, SearchConfig())),
        requires="ale_py",
        extra="atari",
        expert_name="search on the emulator's state",
        start=_start,
        few_starts=True,
        human=HUMANS.get(game),
    )


TASKS = [task(game) for game in (*GAMES, *MORE_GAMES)]


def find_task(task_id: str) -> Task | None:
    """A game otherwise played, by its id: "atari/pong-sticky", "atari/pong,max_steps=27000", or both in this order; see `task`."""
    name, comma, limit = task_id.removeprefix("atari/").partition(",max_steps=")
    sticky = name.endswith("-sticky")
    game = name.removesuffix("-sticky").replace("-", "_")
    if game not in (*GAMES, *MORE_GAMES) or not (sticky or comma):
        return None
    if comma and not (limit.isdecimal() and int(limit) > 0):
        raise OpenGatoError(f"max_steps of task {task_id!r} is {limit!r}: give a number of agent steps, such as 27000")
    return task(game, 0.25 if sticky else 0.0, int(limit) if comma else MAX_STEPS)
