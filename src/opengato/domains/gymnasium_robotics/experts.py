"""Experts for Gymnasium-Robotics: the Fetch arm from what is observed, points along the shortest way, the kitchen by inverse kinematics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.gymnasium_robotics.kitchen import ELEMENTS, KitchenHand
from opengato.domains.task import Expert
from opengato.experts.grid_path import distances, next_cell

GAIN = 10.0  # of the Fetch arm's actions, whose unit is 5 cm: four metres a metre and second


def _go(way: np.ndarray, gripper: float) -> np.ndarray:
    return np.append(GAIN * way, gripper).clip(-1.0, 1.0).astype(np.float32)


class Reacher:
    """The hand to its goal."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        """Nothing is kept between steps."""

    def act(self, observation: Any) -> np.ndarray:
        return _go(observation["desired_goal"] - observation["observation"][:3], 0.0)


class PickerAndPlacer(Reacher):
    """Over the block, down, close, to the goal."""

    def act(self, observation: Any) -> np.ndarray:
        hand, block, goal = observation["observation"][:3], observation["observation"][3:6], observation["desired_goal"]
        opening = observation["observation"][9:11].sum()
        way = block - hand
        at_block = np.abs(way[:2]).max() < 0.01 and abs(way[2]) < 0.015
        if at_block or (np.linalg.norm(way) < 0.03 and opening < 0.055):
            # Held once the fingers touch it, at 5 cm; before that they close without moving.
            return _go(goal - block, -1.0) if opening < 0.055 else np.array([0, 0, 0, -1], np.float32)
        over = np.linalg.norm(way[:2]) > 0.015 and hand[2] < block[2] + 0.03
        if over or np.linalg.norm(way[:2]) > 0.02:
            return _go(way + np.array([0.0, 0.0, 0.08]), 1.0)
        return _go(way, 1.0)


class Pusher(Reacher):
    """Behind the block, as its goal sees it, and on towards that."""

    def act(self, observation: Any) -> np.ndarray:
        hand, block, goal = observation["observation"][:3], observation["observation"][3:6], observation["desired_goal"]
        left = (goal - block)[:2]
        if np.linalg.norm(left) < 0.02:
            return np.zeros(4, np.float32)
        ahead = left / np.linalg.norm(left)
        offset = (hand - block)[:2]
        along = float(offset @ ahead)
        aside = offset - along * ahead
        low = hand[2] < block[2] + 0.03
        if low and along < -0.02 and np.linalg.norm(aside) < 0.03:
            # Onwards by what is left, and back onto the line through block and goal.
            push = np.append(left + 0.02 * ahead - 1.5 * aside, block[2] - hand[2])
            return _go(push * min(1.0, 0.08 / np.linalg.norm(push)), 0.0)
        behind = block[:2] - 0.075 * ahead
        if np.linalg.norm(behind - hand[:2]) < 0.02:
            return _go(np.append(behind - hand[:2], block[2] - hand[2]), 0.0)
        crossing = along > -0.05 and np.linalg.norm(offset) < 0.16
        height = block[2] + (0.07 if crossing or not low else 0.0) - hand[2]
        if crossing and height > 0.03:
            return _go(np.append(np.zeros(2), height), 0.0)
        return _go(np.append(behind - hand[:2], height), 0.0)


class Slider:
    """Behind the puck, and then the push that, tried out on the simulator, leaves it nearest to its goal.

    The puck comes to rest out of reach, so that everything is decided by one stroke: how far behind it begins, how fast, and how far.
    """

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._fetch: Any = env.unwrapped.inner  # type: ignore[attr-defined]
        self._pusher = Pusher()
        self._stroke: list[np.ndarray] = []
        self._expected: np.ndarray | None = None

    def act(self, observation: Any) -> np.ndarray:
        hand, puck, goal = observation["observation"][:3], observation["observation"][3:6], observation["desired_goal"]
        if self._expected is not None and not np.allclose(self._fetch.data.qpos, self._expected, atol=1e-4):
            self._stroke = []  # it was not played as advised
        self._expected = None
        speed = (observation["observation"][14:17] + observation["observation"][20:23])[:2]  # of the puck, metres a step
        if not self._stroke and np.linalg.norm(speed) > 2e-3:
            return np.zeros(4, np.float32)  # it slides
        if not self._stroke:
            left = (goal - puck)[:2]
            ahead = left / max(np.linalg.norm(left), 1e-6)
            behind = np.append(puck[:2] - 0.11 * ahead, puck[2])
            near = np.linalg.norm(hand - behind) < 0.015
            if not near or np.linalg.norm(left) < 0.04:
                return self._approach(hand, puck, behind, left)
            self._stroke = self._best_stroke(ahead)
        action = self._stroke.pop(0)
        with _Imagined(self._fetch) as fetch:
            self._expected = fetch.play([action])
        return action

    def _approach(self, hand: np.ndarray, puck: np.ndarray, behind: np.ndarray, left: np.ndarray) -> np.ndarray:
        if np.linalg.norm(left) < 0.04 or puck[0] > 1.15:  # it is there, or out of reach
            return np.zeros(4, np.float32)
        if np.linalg.norm((hand - puck)[:2]) < 0.1 and hand[2] < puck[2] + 0.05:
            return _go(np.array([0.0, 0.0, 0.1]), 0.0)
        height = 0.0 if np.linalg.norm((hand - behind)[:2]) < 0.02 else 0.07
        return _go(behind + np.array([0.0, 0.0, height]) - hand, 0.0)

    def _best_stroke(self, ahead: np.ndarray) -> list[np.ndarray]:
        """The actions of the stroke that leaves the puck nearest to its goal, and of the standstill after it."""

        def stroke(pace: float, turn: float, length: int) -> list[np.ndarray]:
            way = pace * np.array([ahead[0] - turn * ahead[1], ahead[1] + turn * ahead[0]])
            return [np.append(way, (0.0, 0.0)).clip(-1, 1).astype(np.float32)] * length + [np.zeros(4, np.float32)] * 6

        @cache
        def away(pace: float, turn: float, length: int) -> float:
            with _Imagined(self._fetch) as fetch:
                fetch.play(stroke(pace, turn, length) + [np.zeros(4, np.float32)] * 14)
                return float(np.linalg.norm(fetch.puck() - self._fetch.goal))

        best = min(itertools.product(np.linspace(0.25, 1.0, 7).tolist(), (0.0,), (3, 5, 7, 9)), key=lambda choice: away(*choice))
        for width in (0.08, 0.04, 0.02):
            pace, turn, length = best
            near = itertools.product(
                (pace - width, pace, pace + width), (turn - width, turn, turn + width), (length - 1, length, length + 1)
            )
            best = min(near, key=lambda choice: away(*choice))
        return stroke(*best)


class _Imagined:
    """What Fetch would do: the environment is played from where it stands, on a copy of its data."""

    def __init__(self, fetch: Any):
        self._fetch = fetch

    def __enter__(self) -> _Imagined:
        import copy

        self._real = self._fetch.data
        self._fetch.data = copy.copy(self._real)
        return self

    def play(self, actions: list[np.ndarray]) -> np.ndarray:
        """Returns qpos afterwards."""
        for action in actions:
            self._fetch._set_action(np.asarray(action, np.float64))
            self._fetch._mujoco_step(action)
            self._fetch._step_callback()
        return self._fetch.data.qpos.copy()

    def puck(self) -> np.ndarray:
        return self._fetch._utils.get_site_xpos(self._fetch.model, self._fetch.data, "object0").copy()

    def __exit__(self, *error: Any) -> None:
        self._fetch.data = self._real


class MazeRunner:
    """A point, pushed by forces, from cell to cell the shortest way."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._maze: Any = env.unwrapped.inner.maze  # type: ignore[attr-defined]
        self._free = np.array([[cell != 1 for cell in row] for row in self._maze.maze_map])

    def act(self, observation: Any) -> np.ndarray:
        place, speed, goal = observation["observation"][:2], observation["observation"][2:], observation["desired_goal"]
        cell, last = ((int(i), int(j)) for i, j in map(self._maze.cell_xy_to_rowcol, (place, goal)))
        nearer = next_cell(cell, distances(self._free, last))
        aim = goal if cell == last else self._maze.cell_rowcol_to_xy(np.array(nearer))
        return (10.0 * (aim - place) - 3.0 * speed).clip(-1.0, 1.0).astype(np.float32)


EXPERTS: dict[str, Callable[[], Expert]] = {
    "fetch-reach": Reacher,
    "fetch-push": Pusher,
    "fetch-slide": Slider,
    "fetch-pick-and-place": PickerAndPlacer,
    **dict.fromkeys((f"point-maze-{size}" for size in ("umaze", "open", "medium", "large")), MazeRunner),
    **{f"kitchen-{element}": partial(KitchenHand, element) for element in ELEMENTS},
}
