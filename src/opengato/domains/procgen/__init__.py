"""Procgen: sixteen games of drawn levels, easy and hard, played by search on their saved state.

An observation is a frame of 64×64 pixels. An action is 0 to 14: nine moves (0 left and down, 1 left, 2 left and up, 3 down, 4 none, 5 up,
6 right and down, 7 right, 8 right and up), and six that games use to fire, throw and the like. The reward is the game's own. An episode is
one level, and depends on its number alone; success is the level completed.

Levels are split as is usual: collection and reference scores see the first 200 of the easy ones and the first 500 of the hard ones, and
seeds of evaluation (`starts.SEEDS`) draw from all others, so that a score is of levels that no demonstration has.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.procgen.game import Game, entities, time_limit
from opengato.domains.starts import SEEDS
from opengato.domains.task import Expert, Task
from opengato.experts.emulator_search import EmulatorSearch, SearchConfig
from opengato.experts.level_search import Exploration, find_reward

OBSERVATION_SPACE = spaces.Box(0, 255, (64, 64, 3), np.uint8)
ACTION_SPACE = spaces.Discrete(15)
TRAINING_LEVELS = {"easy": 200, "hard": 500}
NOTHING = 4
INSTALL = 'pip install "opengato[procgen]" && pip install --no-deps procgen-mirror==0.10.7 gym3==0.3.3'
_LEFT, _LEFT_UP, _DOWN, _UP, _RIGHT, _RIGHT_UP, _FIRE, _FIRE_BACK = 1, 2, 3, 5, 7, 8, 9, 10
_MOVES = (4, 7, 1, 5, 3, 8, 2, 6, 0)


def level_of(seed: int, mode: str) -> int:
    """The level that a seed draws: of the training levels in turn; of those beyond them where the seed is evaluation's."""
    training = TRAINING_LEVELS[mode]
    return training + seed - SEEDS.start if seed in SEEDS else seed % training


class Procgen(gym.Env):
    """One game, truncated at its own limit, 500 to 6,000 steps. `info` has the "level"; `info["success"]` is true once it was completed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, name: str, mode: str):
        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE
        self._name, self._mode = name, mode
        self.game: Game | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Without a seed one of the training levels is drawn. options: {"level": N} is the level itself."""
        super().reset(seed=seed)
        if self.game is not None:
            self.game.close()
        drawn = int(self.np_random.integers(TRAINING_LEVELS[self._mode])) if seed is None else seed
        self.level = options["level"] if options and "level" in options else level_of(drawn, self._mode)
        self.game = Game(self._name, self._mode, self.level)
        self.steps, self._limit, self._frame = 0, time_limit(self.game.save()), self.game.frame
        return self._frame.copy(), {"success": False, "level": self.level}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.game is not None, "reset the environment before the first step"
        self.game.step(int(action))
        self.steps += 1
        self._frame = self.game.frame
        late = self.game.over and not self.game.complete and self.steps >= self._limit
        info = {"success": self.game.complete, "level": self.level}
        return self._frame.copy(), self.game.reward, self.game.over and not late, late, info

    def render(self) -> np.ndarray:
        return self._frame

    def close(self) -> None:
        if self.game is not None:
            self.game.close()
        self.game = None


# ---- experts -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """What tells one place of a game from another: the agent's position in squares of a size, how much is left in the game, the time.

    Attributes:
        size: of the squares, in cells of the game. tail: bytes at the state's end that count as well, as the keys that are held.
        beat: steps within which the time does not count; 0: it never does.
        speed: of steps of the agent's speed; 0: it does not count. things: whether it counts how many there are in the game.
        right, up: how many steps the goal is nearer for every cell further right, or up.
    """

    size: float = 0.5
    tail: int = 0
    beat: int = 0
    speed: float = 0.0
    things: bool = True
    right: float = 0.0
    up: float = 0.0

    def __call__(self, state: bytes, steps: int) -> tuple[Hashable, float]:
        things = entities(state)
        x, y, vx, vy = things[0, :4].tolist()
        moving = (round(vx / self.speed), round(vy / self.speed)) if self.speed else ()
        time = steps // self.beat if self.beat else 0
        key = (round(x / self.size), round(y / self.size), len(things) * self.things, state[len(state) - self.tail :], time, moving)
        return key, self.right * x + self.up * y


class Explorer:
    """Searches the way to the next reward, and plays it for as long as the game goes as foreseen."""

    def __init__(self, how: Exploration, place: Places):
        self._how, self._place = how, place

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._env: Any = env.unwrapped
        self._plan: list[int] = []
        self._expected: bytes | None = None

    def act(self, observation: Any) -> int:
        game = self._env.game
        frame, now = game.frame, game.save()
        if not self._plan or now != self._expected:
            self._plan = find_reward(game, self._place, self._how) or [NOTHING]
        action = self._plan.pop(0)
        game.step(action)
        self._expected = game.save()
        game.restore(now)
        game.frame = frame
        return action


class _Saved:
    """A game as the shooting search takes it: death is a life lost."""

    idle = NOTHING

    def __init__(self, game: Game, actions: tuple[int, ...]):
        self.game, self.actions = game, actions

    def save(self) -> tuple[bytes, np.ndarray]:
        return self.game.save(), self.game.frame

    def restore(self, state: tuple[bytes, np.ndarray]) -> None:
        self.game.restore(state[0])
        self.game.frame = state[1]

    def step(self, action: int) -> float:
        self.game.step(action)
        return self.game.reward

    def lives(self) -> int:
        return 0 if self.game.over and not self.game.complete else 1

    def over(self) -> bool:
        return self.game.over

    def mark(self) -> bytes:
        return self.game.save()


def _saved(env: gym.Env, actions: tuple[int, ...]) -> _Saved:
    world: Any = env.unwrapped
    return _Saved(world.game, actions)


_WALK = (_RIGHT, _RIGHT_UP, _UP, _LEFT, _LEFT_UP, NOTHING)
_GRID = (_RIGHT, _UP, _LEFT, _DOWN)

# Games with a single reward at their end, and how they are explored; the others pay as they go, and there it is shot.
EXPLORED = {
    "maze": (Exploration(_GRID, hold=1), Places()),
    "heist": (Exploration(_GRID, hold=2, most=8_000), Places(size=0.25, tail=16, speed=0.25)),
    "coinrun": (Exploration(_WALK, hold=3), Places(speed=0.25, right=2.0)),
    "ninja": (Exploration(_WALK, hold=4), Places(speed=0.25, right=2.0)),
    "jumper": (Exploration(_WALK, hold=4), Places(speed=0.25)),
    "leaper": (Exploration((_UP, _RIGHT, _LEFT, NOTHING), hold=5), Places(beat=5, things=False, up=12.0)),
}
SHOT = {
    "bigfish": _MOVES,
    "bossfight": (*_MOVES, _FIRE),
    "caveflyer": (*_MOVES, _FIRE),
    "chaser": _MOVES,
    "climber": _MOVES,
    "dodgeball": (*_MOVES, _FIRE),
    "fruitbot": (*_MOVES, _FIRE),
    "miner": _MOVES,
    "plunder": (*_MOVES, _FIRE),
    "starpilot": (*_MOVES, _FIRE, _FIRE_BACK),
}
_SHOOTING = SearchConfig(horizon=48, commit=4, lengths=(1, 2, 4, 8), candidates=24, life=4.0)


def _explorer(name: str) -> Expert:
    return Explorer(*EXPLORED[name])


def _shooter(name: str) -> Expert:
    return EmulatorSearch(_SHOOTING, partial(_saved, actions=SHOT[name]))


def _start(env: gym.Env) -> int:
    world: Any = env.unwrapped
    return world.level


TASKS = [
    Task(
        id=f"procgen/{name}-{mode}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(Procgen, name, mode),
        make_expert=partial(_explorer if name in EXPLORED else _shooter, name),
        requires="procgen",
        extra="procgen",
        install=INSTALL,
        expert_name="search for the way to the next reward" if name in EXPLORED else "search on the game's state",
        has_success=True,
        start=_start,
    )
    for name in sorted([*EXPLORED, *SHOT])
    for mode in TRAINING_LEVELS
]
