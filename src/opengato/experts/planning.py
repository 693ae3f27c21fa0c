"""An expert that plans on a copy of a MuJoCo environment's model, whichever package the environment is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from opengato.experts.icem import Planner, PlannerConfig, Reward

EXPERT_NAME = "iCEM planning over mujoco.rollout"


class Simulation(NamedTuple):
    """Where an environment keeps its physics."""

    model: Any  # mujoco.MjModel
    data: Any  # mujoco.MjData, the same all episode
    substeps: int  # physics steps a control step


class PlanningExpert:
    """iCEM on a copy of the environment's model; replans from whatever state it is asked about.

    Args:
        simulation: where an environment has its physics. objective: what plans are compared by, see `Reward`.
    """

    def __init__(self, simulation: Callable[[gym.Env], Simulation], objective: Reward, config: PlannerConfig):
        self._simulation, self._objective, self._config = simulation, objective, config

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        # The episode may have changed the model (a new target, another body), so it is copied at every reset.
        model, self._data, substeps = self._simulation(env)
        self._planner = Planner(model, substeps, self._objective, self._config, seed)

    def act(self, observation: Any) -> np.ndarray:
        return self._planner.act(self._data).astype(np.float32)
