"""One episode: an expert at work, now and then disturbed, or correcting a student, and recorded."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.collection.student import Acting, Student
from opengato.domains.starts import start_of
from opengato.domains.task import Expert, Task, success_of
from opengato.episode import Episode, map_leaves, stack
from opengato.errors import OpenGatoError


class Noise:
    """Bursts of one held random action, 1 to `burst` steps long, in episodes of odd seeds; none in the others (DART, Laskey et al. 2017).

    `share` is that of random steps among all steps of all episodes, so a perturbed episode has twice as much.
    """

    def __init__(self, share: float, burst: int, seed: int, space: spaces.Space, rng: np.random.Generator):
        self._space, self._rng, self._burst, self._left, self._action = space, rng, burst, 0, None
        # Bursts of mean length m that begin with probability p on a free step fill f = pm / (pm + 1 - p) of the steps.
        f, mean = (2 * share if seed % 2 else 0.0), (1 + burst) / 2
        self._begin = f / (mean - f * (mean - 1))
        self.steps = 0

    def __call__(self, advice: Any) -> Any:
        """The action to execute: the expert's advice, or a random one."""
        if self._left == 0 and self._begin > 0 and self._rng.random() < self._begin:
            self._left, self._action = int(self._rng.integers(1, self._burst + 1)), self._space.sample()
        if self._left == 0:
            return advice
        self._left -= 1
        self.steps += 1
        return self._action


def within(space: spaces.Space, action: Any) -> Any:
    """The action, clipped to the bounds of the space's boxes; of the space's dtypes there."""
    if isinstance(space, spaces.Dict):
        return {key: within(part, action[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(within(part, one) for part, one in zip(space.spaces, action, strict=True))
    return np.clip(action, space.low, space.high).astype(space.dtype) if isinstance(space, spaces.Box) else action


def _copy(observation: Any) -> Any:
    """What is recorded is what was seen: simulators use an array again, and some experts write into it."""
    return map_leaves(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, observation)


def record_episode(
    task: Task,
    env: gym.Env,
    expert: Expert,
    seed: int,
    noise: float = 0.0,
    student: Student | None = None,
    acting: Acting | None = None,
) -> tuple[Episode, Any]:
    """Let the expert act for one episode, or a student, `acting` in its slot 0; see `course_of`."""
    course = course_of(task, env, expert, seed, noise, student)
    try:
        seen = next(course)
        assert acting is not None, "a student must act"
        acting.reset(0, seed)
        while True:
            seen = course.send(acting.act({0: seen})[0])
    except StopIteration as end:
        found: tuple[Episode, Any] = end.value
        return found


def course_of(
    task: Task, env: gym.Env, expert: Expert, seed: int, noise: float = 0.0, student: Student | None = None
) -> Generator[Any, Any, tuple[Episode, Any]]:
    """Let the expert act for one episode; returns it and the observation after its last action.

    With `noise` in [0, 0.4], about this share of the executed actions is random; what is recorded is always the expert's advice for
    the state it is in, so that the data shows the way back. `Episode.info` has the executed share as "noise", "return", whether the
    episode "terminated" (or else was truncated), and the hash of its full starting state as "start", 16 digits.

    With a `student` it yields every observation, and is sent what the student does there, which is executed but for those timesteps at
    which the student yields to the expert: so that many episodes can wait for one pass of the student's. `Episode.info` then has its
    "round", "beta" and digest, "student". Where the expert finds no advice in a state, the episode is cut before it, and says so as how it
    "ended".
    """
    rng = np.random.default_rng(seed)
    env.action_space.seed(int(rng.integers(2**31)))
    disturb = Noise(noise, task.burst, seed, env.action_space, rng)
    observation, _ = env.reset(seed=seed)
    start = f"{start_of(task, env, observation):016x}"
    expert.reset(env, observation, seed)
    observations, rewards = [_copy(observation)], []
    actions: list[Any] = []
    terminated = truncated = False
    corrections: dict[str, Any] = {}
    if student is not None:
        corrections = {"round": student.round, "beta": float(student.beta), "student": student.digest}
    info: dict[str, Any] = {}
    while not (terminated or truncated):
        try:
            advice = within(env.action_space, expert.act(observation))  # as simulators take it, which clip
        except OpenGatoError:  # a student may have made the task impossible
            if student is None or not actions:
                raise
            corrections["ended"] = "no advice"
            break
        executed = disturb(advice)
        if student is not None:
            # Asked at every timestep, as an agent's context has every one; shown what is recorded, whatever the expert does with it.
            own = within(env.action_space, (yield observations[-1]))
            executed = advice if student.yields(seed, len(actions)) else own
        observation, reward, terminated, truncated, info = env.step(executed)
        observations.append(_copy(observation))
        actions.append(advice)
        rewards.append(float(reward))
    episode = Episode(
        stack(observations[:-1]),
        stack(actions),
        np.array(rewards, np.float32),
        task.id,
        student.source if student is not None else "expert",
        success_of(task.has_success, info),
        seed,
        {"noise": disturb.steps / len(actions), "terminated": bool(terminated), "start": start, **corrections},
    )
    episode.info["return"] = episode.episode_return
    return episode, observation
