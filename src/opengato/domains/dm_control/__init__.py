"""DM Control Suite from state, solved by planning (iCEM) on the simulator itself."""

from __future__ import annotations

from functools import partial

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.environment import Suite, start
from opengato.domains.dm_control.planning import EXPERT_NAME, PlanningExpert
from opengato.domains.dm_control.recipes import RECIPES
from opengato.domains.task import Task


def _task(domain: str, name: str) -> Task:
    observations, actions = stated.observation_space(domain, name), stated.action_space(domain, name)
    recipe = RECIPES.get((domain, name))
    return Task(
        id=f"dm-control/{stated.task_name(domain, name)}",
        observation_space=observations,
        action_space=actions,
        make_env=partial(Suite, domain, name, observations, actions),
        make_expert=None if recipe is None else partial(PlanningExpert, recipe),
        requires="dm_control",
        extra="dmc",
        expert_name="none" if recipe is None else EXPERT_NAME,
        burst=30,
        start=start,
    )


TASKS = [_task(*key) for key in stated.TASKS]
