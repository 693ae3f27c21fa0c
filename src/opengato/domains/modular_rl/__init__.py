"""Modular RL: Gymnasium's bodies with fewer limbs or one more, solved by planning (iCEM) on the simulator itself.

The 38 bodies of Huang et al. 2020, "One Policy to Control Them All", of which 34 differ: cheetahs, walkers, hoppers and a humanoid in a
plane. Rewards, ends and the limit of 1,000 steps are those of Gymnasium's whole body.
"""

from __future__ import annotations

from functools import partial

from opengato.domains.gymnasium_mujoco import simulation, start
from opengato.domains.modular_rl.bodies import LIMBS, family
from opengato.domains.modular_rl.environment import Limbs, action_space, observation_space
from opengato.domains.modular_rl.recipes import RECIPES
from opengato.domains.task import Expert, Task
from opengato.experts.planning import EXPERT_NAME, PlanningExpert

LIMIT = 1000


def _make_expert(name: str) -> Expert:
    recipe = RECIPES[family(name)]
    return PlanningExpert(simulation, recipe.objective, recipe.planner)


def _task(name: str) -> Task:
    observations, actions = observation_space(name), action_space(name)
    return Task(
        id=f"modular-rl/{name}",
        observation_space=observations,
        action_space=actions,
        make_env=partial(Limbs, name, LIMIT, observations, actions),
        make_expert=partial(_make_expert, name),
        requires="mujoco",
        extra="mujoco",
        expert_name=EXPERT_NAME,
        burst=30,
        start=start,
    )


TASKS = [_task(name) for name in LIMBS]
