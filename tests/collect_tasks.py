"""Small tasks on real Gymnasium environments, importable by name, so that collecting processes find them too."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.starts import fingerprint, is_kept
from opengato.domains.task import Task

CARTPOLE_SPACE = spaces.Box(-np.inf, np.inf, (4,), np.float32)


class PoleBalancer:
    """A linear closed-loop controller of CartPole: pushes towards where the pole falls."""

    def __init__(self, seconds: float = 0.0, fails: tuple[int, ...] = ()):
        self.seconds, self.fails = seconds, fails

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        if seed in self.fails:
            raise RuntimeError(f"no plan for {seed}")
        time.sleep(self.seconds)

    def act(self, observation: Any) -> int:
        return int(observation @ np.array([0.02, 0.1, 1.0, 0.4]) > 0)


def make_cartpole(steps: int = 60) -> gym.Env:
    env = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=steps)
    return gym.wrappers.TransformObservation(env, lambda o: np.asarray(o, np.float32), CARTPOLE_SPACE)


def cartpole(seconds: float = 0.0, fails: tuple[int, ...] = (), name: str = "cartpole", space: spaces.Box = CARTPOLE_SPACE) -> Task:
    return Task(
        id=f"test/{name}",
        observation_space=space,
        action_space=spaces.Discrete(2),
        make_env=make_cartpole,
        make_expert=partial(PoleBalancer, seconds, fails),
        requires="gymnasium",
        extra="demo",
        expert_name="linear controller",
    )


def make_slowly(log: Path, name: str) -> gym.Env:
    with log.open("a") as file:
        file.write(f"{name}\n")
    time.sleep(2.2)
    return make_cartpole()


def slow_to_make(name: str, log: Path) -> Task:
    """Its simulator takes seconds to be made, an episode milliseconds; `log` has a line for every time it was."""
    return replace(cartpole(name=name), make_env=partial(make_slowly, log, name))


class Overshoots:
    """Pushes a pendulum, whose torque is at most 2, with 5."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        """Nothing is kept."""

    def act(self, observation: Any) -> np.ndarray:
        return np.array([5.0 if observation[2] > 0 else -5.0])


def make_pendulum() -> gym.Env:
    return gym.make("Pendulum-v1", render_mode="rgb_array", max_episode_steps=60)


def overshooting() -> Task:
    speeds = np.array([1, 1, 8], np.float32)
    return Task(
        id="test/overshooting",
        observation_space=spaces.Box(-speeds, speeds),
        action_space=spaces.Box(-2, 2, (1,), np.float32),
        make_env=make_pendulum,
        make_expert=Overshoots,
        requires="gymnasium",
        extra="demo",
        expert_name="none to speak of",
    )


WORDS = ("", "north", "gegenüber 🐈", "東", "a\nb\t", "trailing space ")
TALK_OBSERVATION = spaces.Dict(
    said=spaces.Text(100), where=spaces.Tuple((spaces.Discrete(6), spaces.Box(0, 255, (2, 3, 3), np.uint8))), a=spaces.MultiDiscrete([3, 7])
)
TALK_ACTION = spaces.Dict(answer=spaces.Text(100), push=spaces.Box(-1, 1, (2,), np.float32))


class Talk(gym.Env):
    """Says a word a step, wants it back; nested observations and actions, text in both."""

    observation_space, action_space = TALK_OBSERVATION, TALK_ACTION

    def __init__(self, nul: bool = False):
        self._words = (*WORDS, "nul\0inside", "nul at the end\0\0") if nul else WORDS

    def _observe(self) -> dict[str, Any]:
        self._word = int(self.np_random.integers(len(self._words)))
        pixels = self.np_random.integers(0, 256, (2, 3, 3), dtype=np.uint8)
        return {"said": self._words[self._word], "where": (np.int64(self._word % 6), pixels), "a": np.array([self._step % 3, 6])}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        super().reset(seed=seed)
        self._step, self._right = 0, 0
        self._length = int(self.np_random.integers(1, 9))
        return self._observe(), {}

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict]:
        right = action["answer"] == self._words[self._word]
        self._right += right
        self._step += 1
        over = self._step >= self._length
        return self._observe(), float(right), over, False, {"success": self._right == self._step}


class Echo:
    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {"answer": observation["said"], "push": self._rng.uniform(-1, 1, 2).astype(np.float32)}


def talk(nul: bool = False) -> Task:
    name = "talk-nul" if nul else "talk"
    return Task(f"test/{name}", TALK_OBSERVATION, TALK_ACTION, partial(Talk, nul), Echo, "gymnasium", "demo", "an echo", has_success=True)


def _the_same(env: gym.Env) -> int:
    return 1


def always_the_same() -> Task:
    """A task of one start, and that is evaluation's."""
    assert is_kept(fingerprint(1))
    return replace(cartpole(name="same"), start=_the_same, few_starts=True)


def _by_its_state(env: gym.Env) -> int:
    return fingerprint(np.asarray(env.unwrapped.state))


def of_few_starts() -> Task:
    """A task of whose starts one in four is evaluation's."""
    return replace(cartpole(name="few"), start=_by_its_state, few_starts=True)


class Scribbles:
    """Alternates two actions, and writes into the observation that it is given, as two of Meta-World's own policies do."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._next = 0

    def act(self, observation: np.ndarray) -> int:
        observation += 7
        self._next = 1 - self._next
        return self._next


class OneArray(gym.ObservationWrapper):
    """Gives the same array at every step, with other numbers in it."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self._array = np.zeros(4, np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        self._array[:] = observation
        return self._array


def _one_array() -> gym.Env:
    return OneArray(make_cartpole())


def scribbled() -> Task:
    return replace(cartpole(), make_env=_one_array, make_expert=Scribbles)
