"""DeepMind Lab: the levels that were published, where its package is installed; and our own stand-in for one that was not.

`deepmind_lab` is built from its sources (github.com/google-deepmind/lab, python/pip_package), for which pip has no wheel. An observation is
the picture, 72×96, and the level's instruction, "" where it gives none. An action is seven numbers: turn left or right by one of seven
speeds, look down or up by one of three, strafe, move, fire, jump, crouch, in the order of the Lab's own `action_spec`, held for 4 of its 60
frames a second. Rewards are the level's own. The Lab's end of an episode is a termination, since it does not say why it ended. It has
no experts: its levels are for data of one's own, and for evaluation. `dm-lab/level:PATH` is any other level, by its path as the Lab has it.

`dm-lab/order-of-apples-forage-simple`, which the paper holds out of training (section 5.2), was never published. Under that name stands a
room of MiniWorld in which three kinds of apples are to be eaten in the right order, and which that is one must find out anew each episode.
Its action is one of 0 to 2: turn left, turn right, forward.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from opengato.domains.dm_lab.levels import ACTION_SPACE, LEVELS, OBSERVATION_SPACE
from opengato.domains.miniworld.world import PICTURE
from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError

_PREFIX = "dm-lab/level:"
_INSTALL = "build its wheel as python/pip_package/README.md in github.com/google-deepmind/lab says, and pip install it"


def _make_level(level: str) -> gym.Env:
    from opengato.domains.dm_lab.lab import LabLevel

    return LabLevel(level)


def _make_apples() -> gym.Env:
    from opengato.domains.dm_lab.apples import make_apples

    return make_apples()


def _make_forager() -> Expert:
    from opengato.domains.dm_lab.apples import Forager

    return Forager()


def _start(env: gym.Env) -> dict[str, Any]:
    from opengato.domains.miniworld.world import full_state

    world: Any = env.unwrapped
    return {**full_state(env), "order": " ".join(world.order)}


def _task(task_id: str, level: str) -> Task:
    return Task(
        id=task_id,
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(_make_level, level),
        make_expert=None,
        requires="deepmind_lab",
        extra="",
        install=_INSTALL,
        expert_name="none",
    )


TASKS = [
    Task(
        id="dm-lab/order-of-apples-forage-simple",
        observation_space=PICTURE,
        action_space=spaces.Discrete(3),
        make_env=_make_apples,
        make_expert=_make_forager,
        requires="miniworld",
        extra="miniworld",
        expert_name="A* on the true pose, to the nearest apple that may be next by what was tried",
        has_success=True,
        start=_start,
    ),
    *(_task(f"dm-lab/{name}", level) for name, level in LEVELS.items()),
]


def find_task(task_id: str) -> Task | None:
    """The task of "dm-lab/level:PATH", None for other ids. Raises OpenGatoError where no path is given."""
    if not task_id.startswith(_PREFIX):
        return None
    if task_id == _PREFIX:
        raise OpenGatoError(f"task {task_id!r} names no level: give its path under game_scripts/levels, without .lua")
    return _task(task_id, task_id.removeprefix(_PREFIX))
