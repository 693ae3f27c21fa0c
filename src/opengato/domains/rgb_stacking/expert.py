"""An expert that stacks: it tries in a simulation of its own what it could do, and does the first that works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from opengato.domains.rgb_stacking.environment import STEPS
from opengato.domains.rgb_stacking.grasps import Grasp, grasps
from opengato.domains.rgb_stacking.machine import Cell, Plan, advise, in_hand
from opengato.domains.rgb_stacking.objects import COLOURS
from opengato.domains.rgb_stacking.shapes import Shape

EXPERT_NAME = "grasps by geometry, tried in simulation"
_GRASPS = 12  # different ones that are thought of
_AGAIN = 6  # ways that are simulated each time that a plan has failed, until there are no more
_TIMEOUT = 30  # steps that fingers may take to close on something
_LONG_ENOUGH = 100  # steps without which trying again is not worth a simulation


class StackingExpert:
    """Takes the top object as is easiest, puts it down on the bottom one, and tries again where that fails.

    Args:
        first, later: how many ways it may simulate, about a CPU second each, before its first step, and after plans that failed.
    """

    def __init__(self, first: int = 12, later: int = 12):
        self._first, self._later = first, later

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        del observation, seed
        self._cell = Cell.of(env.unwrapped)
        self._left, self._step = self._later, 0
        self._failed: list[Grasp] = []
        self._had, self._closing = False, 0
        self._plan, self._lay = self._choose(self._first)

    def act(self, observation: Any) -> np.ndarray:
        del observation
        if self._lost():
            trials, self._left = min(self._left, _AGAIN), max(0, self._left - _AGAIN)
            self._plan, self._lay = self._choose(trials)
        self._step += 1
        action = advise(self._cell, self._plan)
        self._closing = self._closing + 1 if action[4] > 0 else 0
        return action

    def _lost(self) -> bool:
        """Whether the plan is of no use any more: the object was lost or not got hold of, or lies otherwise than when it was made."""
        had, self._had = self._had, in_hand(self._cell, self._plan)
        if self._had:
            self._closing = 0
            return False
        if had or self._closing > _TIMEOUT:
            self._failed.append(self._plan.grasp)
            return True
        top = self._cell.shape(self._cell.top)
        return bool(np.linalg.norm(top.position - self._lay.position) > 0.03 or self._lay.axes[2] @ top.axes[2] < 0.95)

    def _choose(self, trials: int) -> tuple[Plan, Shape]:
        """The first plan that works when it is simulated, where none does the first that was thought of; and how the object lies."""
        self._had, self._closing, lay = False, 0, self._cell.shape(self._cell.top)
        steps = STEPS - self._step
        plans = list(_grasped(self._cell, self._failed))
        first = plans[0]
        while plans and trials > 0 and steps >= _LONG_ENOUGH:
            trials -= 1
            plan = plans.pop(0)
            came = outcome(self._cell, plan, steps)
            if came == "stands":
                return plan, lay
            if came == "fell" and plan.heading is None:  # the grasp is good: put it down otherwise
                plans[:0] = _put_otherwise(self._cell, plan)
        return first, lay


def _grasped(cell: Cell, failed: list[Grasp]) -> Iterator[Plan]:
    """A plan for each of the best grasps that are not much like one another, those that have failed last."""
    top = cell.shape(cell.top)
    others = [cell.shape(colour) for colour in COLOURS if colour != cell.top]
    found: list[Grasp] = []
    every = grasps(top, others)
    for grasp in every:
        if not any(grasp.like(other) for other in (*found, *failed)):
            found.append(grasp)
            yield Plan(grasp)
        if len(found) == _GRASPS:
            break
    yield from (Plan(grasp) for grasp in failed or every[:1] or [Grasp.above(top)])


def _put_otherwise(cell: Cell, plan: Plan) -> list[Plan]:
    """The same grasp, with other headings, and with the middle of the mass over the other object's own."""
    bottom = cell.shape(cell.bottom)
    _, yaw = plan.grasp.at(cell.shape(cell.top))
    x, y = (float(part) for part in bottom.centre[:2] - bottom.seat()[:2])
    turned = [Plan(plan.grasp, yaw + turn) for turn in (np.pi / 2, np.pi / 4, -np.pi / 4)]
    return turned + ([Plan(plan.grasp, yaw, (x, y)), Plan(plan.grasp, yaw + np.pi / 2, (x, y))] if np.hypot(x, y) > 0.004 else [])


def outcome(cell: Cell, plan: Plan, steps: int) -> Literal["stands", "fell", "lost"]:
    """What comes of a plan that is followed for so many steps: a stack that stands at their end, one that fell, or not even that."""
    tried, stood, had, closing = cell.copy(), False, False, 0
    for _ in range(steps):
        action = advise(tried, plan)
        tried.advance(action)
        if tried.stacked:
            stood = had = True
            continue
        if in_hand(tried, plan):
            had, closing = True, 0
            continue
        closing = closing + 1 if action[4] > 0 else 0
        if had or closing > _TIMEOUT:
            break
    return "stands" if tried.stacked else "fell" if stood else "lost"
