"""A task of the suite as the project lists it, whatever is seen of it and whichever body it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from opengato.domains.dm_control import controllers, stated
from opengato.domains.dm_control.environment import simulation, start
from opengato.domains.dm_control.recipes import RECIPES
from opengato.domains.task import Expert, Task
from opengato.experts import planning


def listed(
    prefix: str,
    key: tuple[str, str],
    environment: Callable[..., gym.Env],
    observation_space: spaces.Space,
    start: Callable[[gym.Env], Any] = start,
) -> Task:
    """The task `key`, (domain, task) of the suite, in the domain `prefix`.

    Its expert is a feedback controller where there is a design, the planner where there is a recipe. `environment` is called with the
    domain, the task, the observation space and the action space.
    """
    actions, (expert_name, make_expert) = stated.action_space(*key), _expert(key)
    return Task(
        id=f"{prefix}/{stated.task_name(*key)}",
        observation_space=observation_space,
        action_space=actions,
        make_env=partial(environment, *key, observation_space, actions),
        make_expert=make_expert,
        requires="dm_control",
        extra="dmc",
        expert_name=expert_name,
        burst=30,
        start=start,
    )


def _expert(key: tuple[str, str]) -> tuple[str, Callable[[], Expert] | None]:
    if key in controllers.DESIGNS:
        return controllers.EXPERT_NAME, partial(controllers.Controller, controllers.DESIGNS[key])
    if key in RECIPES:
        return planning.EXPERT_NAME, partial(planning.PlanningExpert, simulation, RECIPES[key].objective, RECIPES[key].planner)
    return "none", None
