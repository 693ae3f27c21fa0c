"""A task of the suite as the project lists it, whatever is seen of it and whichever body it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.environment import simulation, start
from opengato.domains.dm_control.recipes import RECIPES
from opengato.domains.task import Task
from opengato.experts.planning import EXPERT_NAME, PlanningExpert


def listed(
    prefix: str,
    key: tuple[str, str],
    environment: Callable[..., gym.Env],
    observation_space: spaces.Space,
    start: Callable[[gym.Env], Any] = start,
) -> Task:
    """The task `key`, (domain, task) of the suite, in the domain `prefix`; with the planner as its expert where there is a recipe.

    `environment` is called with the domain, the task, the observation space and the action space.
    """
    actions, recipe = stated.action_space(*key), RECIPES.get(key)
    return Task(
        id=f"{prefix}/{stated.task_name(*key)}",
        observation_space=observation_space,
        action_space=actions,
        make_env=partial(environment, *key, observation_space, actions),
        make_expert=None if recipe is None else partial(PlanningExpert, simulation, recipe.objective, recipe.planner),
        requires="dm_control",
        extra="dmc",
        expert_name="none" if recipe is None else EXPERT_NAME,
        burst=30,
        start=start,
    )
