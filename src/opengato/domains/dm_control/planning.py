"""The suite's expert: a planner on a copy of the environment's model."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.dm_control.recipes import Recipe
from opengato.experts.icem import Planner

EXPERT_NAME = "iCEM planning over mujoco.rollout"


class PlanningExpert:
    """iCEM on a copy of the environment's model; replans from whatever state it is asked about."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        suite = env.unwrapped.inner  # type: ignore[attr-defined]
        self._physics = suite.physics
        # The episode may have changed the model (a new target, another body), so it is copied at every reset.
        self._planner = Planner(
            self._physics.model.ptr,
            round(suite.control_timestep() / self._physics.timestep()),
            self.recipe.objective,
            self.recipe.planner,
            seed,
        )

    def act(self, observation: Any) -> np.ndarray:
        return self._planner.act(self._physics.data.ptr).astype(np.float32)
