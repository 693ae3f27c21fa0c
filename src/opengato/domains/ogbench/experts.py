"""Experts for OGBench: which of its closed-loop oracles acts next, told from the state alone; and the shortest way through its mazes.

An oracle brings one thing to one place. A goal of several is a sequence of such steps, and the next one is chosen anew whenever the arm is
free: a cube goes to its place once that is free and what it stands on is there, and one that is in the way of all others goes aside; a lock
is opened before what it holds is moved, and set as the goal has it at last; of a puzzle, whose button turns its neighbours too, the
fewest presses are found by linear algebra over {0, 1}.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.experts.grid_path import distances, next_cell

CUBE = 0.04  # a cube's side, metres
PLACED = 0.03  # a cube this near is where it belongs; 0.04 is OGBench's own measure
OPEN = -0.16  # of the drawer

Info = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing that an oracle does: kind "cube" (number `which` to the place `target`), "button", "drawer" or "window" (to a position)."""

    kind: str
    which: int
    target: tuple[float, ...]


def cubes_next(places: np.ndarray, goals: np.ndarray) -> Step | None:
    """The next cube to move, and where to; None where all are in their places. Both are (n, 3), metres."""
    n = len(places)
    flat = np.linalg.norm(places[:, None, :2] - places[None, :, :2], axis=-1)
    covered = [any(flat[i, j] < 0.03 and places[j, 2] > places[i, 2] + CUBE / 2 for j in range(n)) for i in range(n)]
    below = [
        next((j for j in range(n) if j != i and np.linalg.norm(goals[i] - (0, 0, CUBE) - goals[j]) < CUBE / 2), None) for i in range(n)
    ]

    @cache
    def placed(i: int) -> bool:
        near = bool(np.linalg.norm(places[i] - goals[i]) <= PLACED)
        return near and (below[i] is None or placed(below[i]))

    def obstacles(i: int) -> list[int]:
        """Cubes, other than those that stay where they are, that lie where this one goes."""
        away = np.linalg.norm(places[:, :2] - goals[i, :2], axis=-1)
        return [j for j in range(n) if j != i and not placed(j) and away[j] < 1.25 * CUBE]

    left = [i for i in range(n) if not placed(i)]
    ready = [i for i in left if not covered[i] and (below[i] is None or placed(below[i])) and not obstacles(i)]
    if ready:
        first = min(ready, key=lambda i: (goals[i, 2], i))
        return Step("cube", first, tuple(goals[first]))
    loose = [i for i in left if not covered[i]]
    if not loose:
        return None
    blamed = [j for i in left for j in obstacles(i) if j in loose]
    above = [j for j in loose if places[j, 2] > CUBE]  # it covers one that cannot be taken
    aside = (blamed or above or loose)[0]
    return Step("cube", aside, tuple(_free_place(aside, places, goals)))


def _free_place(which: int, places: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """The place on the table nearest to a cube that is away from all others and from where any belongs."""
    spots = np.array(list(itertools.product(np.arange(0.3, 0.56, 0.05), np.arange(-0.3, 0.31, 0.05))))
    taken = np.concatenate([np.delete(places, which, axis=0), goals])[:, :2]
    room = np.linalg.norm(spots[:, None] - taken, axis=-1).min(1)
    far = np.linalg.norm(spots - places[which, :2], axis=-1)
    best = np.lexsort((far, -np.minimum(room, 0.1)))[0]
    return np.append(spots[best], CUBE / 2)


class ArmExpert:
    """Takes OGBench's steps one after another; a subclass says which is next."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        from ogbench.manipspace.oracles.markov.button_markov import ButtonMarkovOracle
        from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
        from ogbench.manipspace.oracles.markov.drawer_markov import DrawerMarkovOracle
        from ogbench.manipspace.oracles.markov.window_markov import WindowMarkovOracle

        self.arm: Any = env.unwrapped.inner  # type: ignore[attr-defined]
        self._oracles: dict[str, Any] = {
            "cube": CubeMarkovOracle(env=self.arm),
            "button": ButtonMarkovOracle(env=self.arm, gripper_always_closed=True),
            "drawer": DrawerMarkovOracle(env=self.arm),
            "window": WindowMarkovOracle(env=self.arm),
        }
        self._step: Step | None = None

    def next_step(self, info: Info) -> Step | None:
        """What to do next, for an arm that is free."""
        raise NotImplementedError

    def act(self, observation: Any) -> np.ndarray:
        info = self.arm.compute_ob_info()
        if self._step is None or not self._busy(info, self._step):
            self._step = self.next_step(info) or self._step
        if self._step is None:
            return np.zeros(5, np.float32)
        hand = info["proprio/effector_pos"]
        aim, oracle = self._aim(info, self._step), self._oracles[self._step.kind]
        # First up, then aside: what the hand passes by stays where it is.
        if hand[2] < self._safe(info) and np.linalg.norm(hand[:2] - self._thing(info, self._step)[:2]) > 0.08:
            closed = self._step.kind == "button"
            return np.array([0, 0, 1, 0, 1 if closed else -1], np.float32)
        oracle._done, oracle._step, oracle._final_pos, oracle._final_yaw = (
            False,
            0,
            np.append(hand[:2], 0.34),
            info["proprio/effector_yaw"][0],
        )
        return np.asarray(oracle.select_action(None, {**info, **aim}), np.float32)

    def _thing(self, info: Info, step: Step) -> np.ndarray:
        """Where that is which the step moves or presses."""
        if step.kind == "cube":
            return info[f"privileged/block_{step.which}_pos"]
        if step.kind == "button":
            return self.arm.data.site_xpos[self.arm._button_site_ids[step.which]]
        return info[f"privileged/{step.kind}_handle_pos"]

    def _safe(self, info: Info) -> float:
        """The height at which an open gripper passes over everything, metres."""
        cubes = getattr(self.arm, "_num_cubes", 0)
        return 0.1 + max((info[f"privileged/block_{i}_pos"][2] for i in range(cubes)), default=0.06)

    def _achieved(self, info: Info, step: Step) -> bool:
        """By the oracle's own measure, so that it lets go."""
        if step.kind == "cube":
            return bool(np.linalg.norm(self._thing(info, step) - step.target) <= 0.02)
        if step.kind == "button":
            return bool(info[f"privileged/button_{step.which}_state"] == step.target[0])
        return abs(float(info[f"privileged/{step.kind}_pos"][0]) - step.target[0]) <= 0.01

    def _busy(self, info: Info, step: Step) -> bool:
        """Whether the hand is at what the step moves, so that it goes on; and once that is done, until it has let go and is away."""
        hand, thing = info["proprio/effector_pos"], self._thing(info, step)
        if self._achieved(info, step):
            return bool(np.linalg.norm(hand - thing) < {"cube": 0.09, "button": 0.06, "drawer": 0.09, "window": 0.05}[step.kind])
        return bool(np.linalg.norm(hand - thing) < 0.05)

    def _aim(self, info: Info, step: Step) -> Info:
        """What the oracle is told of its target."""
        if step.kind == "cube":
            return {
                "privileged/target_block": step.which,
                "privileged/target_block_pos": np.array(step.target),
                "privileged/target_block_yaw": np.zeros(1),
            }
        if step.kind == "button":
            return {
                "privileged/target_button": step.which,
                "privileged/target_button_state": step.target[0],
                "privileged/target_button_top_pos": self._thing(info, step),
            }
        along = np.array([0.0, -1.0, 0.0]) if step.kind == "drawer" else np.array([1.0, 0.0, 0.0])
        moved = step.target[0] - float(info[f"privileged/{step.kind}_pos"][0])
        return {f"privileged/target_{step.kind}_handle_pos": self._thing(info, step) + moved * along}


class CubeMover(ArmExpert):
    """One to eight cubes to their places, stacks from below."""

    def next_step(self, info: Info) -> Step | None:
        places = np.array([info[f"privileged/block_{i}_pos"] for i in range(self.arm._num_cubes)])
        return cubes_next(places, self.arm.data.mocap_pos[self.arm._cube_target_mocap_ids])


class SceneArranger(ArmExpert):
    """A cube, a drawer, a window and the two buttons that lock these."""

    def next_step(self, info: Info) -> Step | None:
        arm = self.arm
        cube, goal = info["privileged/block_0_pos"], arm.data.mocap_pos[arm._cube_target_mocap_ids[0]]
        inside, belongs_inside = bool(arm._is_in_drawer(cube)), bool(goal[1] < -0.2)
        stays = inside if belongs_inside else bool(np.linalg.norm(cube - goal) <= PLACED)
        drawer = arm._target_drawer_pos if stays or not (inside or belongs_inside) else OPEN
        states = info["button_states"]
        if abs(float(info["privileged/drawer_pos"][0]) - drawer) > 0.03:
            return Step("drawer", 0, (drawer,)) if states[0] else Step("button", 0, (1.0,))
        if not stays:
            return Step("cube", 0, tuple(arm._drawer_center if belongs_inside else goal))
        if abs(float(info["privileged/window_pos"][0]) - arm._target_window_pos) > 0.03:
            return Step("window", 0, (arm._target_window_pos,)) if states[1] else Step("button", 1, (1.0,))
        wrong = np.flatnonzero(states != arm._target_button_states)
        return Step("button", int(wrong[0]), (float(arm._target_button_states[wrong[0]]),)) if len(wrong) else None


@cache
def _solved(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the buttons turn (a column each), its pseudo-inverse and its null space, over {0, 1}.

    Any presses for a change are `inverse @ change` plus a sum of the null space's rows.
    """
    n = rows * columns
    turned = np.zeros((n, n), np.uint8)
    for k, m in itertools.product(range(n), repeat=2):
        turned[m, k] = abs(k // columns - m // columns) + abs(k % columns - m % columns) <= 1
    reduced, record = turned.copy(), np.eye(n, dtype=np.uint8)
    pivots: list[int] = []
    for column in range(n):
        row = len(pivots)
        found = next((r for r in range(row, n) if reduced[r, column]), None)
        if found is None:
            continue
        for table in (reduced, record):
            table[[row, found]] = table[[found, row]]
        others = [r for r in range(n) if r != row and reduced[r, column]]
        for table in (record, reduced):
            table[others] ^= table[row]
        pivots.append(column)
    inverse = np.zeros((n, n), np.uint8)
    inverse[pivots] = record[: len(pivots)]
    null = []
    for free in set(range(n)) - set(pivots):
        vector = np.zeros(n, np.uint8)
        vector[free] = 1
        vector[pivots] = reduced[: len(pivots), free]
        null.append(vector)
    return turned, inverse, np.array(null, np.uint8).reshape(-1, n)


def presses(states: np.ndarray, goals: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Which buttons of a puzzle to press, (rows * columns,) of {0, 1}, as few as can be. Raises ValueError where none lead to the goal."""
    turned, inverse, null = _solved(rows, columns)
    change = (states ^ goals).astype(np.uint8)
    one = inverse @ change % 2
    if not np.array_equal(turned @ one % 2, change):
        raise ValueError("no presses lead from these states to that goal")
    choices = [(one + np.array(mix, np.uint8) @ null) % 2 for mix in itertools.product((0, 1), repeat=len(null))]
    return min(choices, key=lambda choice: int(choice.sum()))


class PuzzleSolver(ArmExpert):
    """Buttons that turn their neighbours too."""

    def next_step(self, info: Info) -> Step | None:
        arm, states = self.arm, np.asarray(info["button_states"])
        chosen = np.flatnonzero(presses(states, np.asarray(arm._target_button_states), arm._num_rows, arm._num_cols))
        if not len(chosen):
            return None
        tops = arm.data.site_xpos[np.asarray(arm._button_site_ids)[chosen]]
        nearest = int(chosen[np.linalg.norm(tops[:, :2] - info["proprio/effector_pos"][:2], axis=-1).argmin()])
        return Step("button", nearest, (float(1 - states[nearest]),))


class MazeWalker:
    """From cell to cell the shortest way, around what teleports."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._maze: Any = env.unwrapped.inner  # type: ignore[attr-defined]
        self._free = self._maze.maze_map == 0
        for cell in (self._maze._teleport_info or {}).get("teleport_in_ijs", ()):
            self._free[cell] = False

    def act(self, observation: Any) -> np.ndarray:
        maze = self._maze
        here, goal = maze.get_xy(), np.asarray(maze.cur_goal_xy)
        cell, last = maze.xy_to_ij(here), maze.xy_to_ij(goal)
        nearer = next_cell(cell, distances(self._free, last))
        aim = goal if cell == last else np.asarray(maze.ij_to_xy(nearer))
        return np.clip((aim - here) / 0.2, -1.0, 1.0).astype(np.float32)  # a step is 0.2 at most
