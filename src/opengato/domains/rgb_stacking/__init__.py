"""RGB Stacking (Gato, sections 4.2 and 5.3): a Sawyer arm stacks one of three objects on another, in simulation.

Names say which: "skill-mastery-N" is red on blue of test triplet N, "blue-on-green-N" the other of section 5.3, "skill-generalization" red
on blue of training objects that the seed draws; who learned from it alone is tested on the five of skill mastery. "-features" is told where
the objects are, "-vision" sees them with two cameras.
"""

from __future__ import annotations

from functools import partial

from opengato.domains.rgb_stacking.environment import ACTION_SPACE, Stacking, observation_space, start
from opengato.domains.rgb_stacking.expert import EXPERT_NAME, StackingExpert
from opengato.domains.rgb_stacking.objects import INSTALL, TEST_TRIPLETS, Triplet
from opengato.domains.task import Task


def _task(name: str, top: str, bottom: str, triplet: Triplet | None, cameras: bool) -> Task:
    return Task(
        id=f"rgb-stacking/{name}-{'vision' if cameras else 'features'}",
        observation_space=observation_space(cameras),
        action_space=ACTION_SPACE,
        make_env=partial(Stacking, top, bottom, triplet, cameras),
        make_expert=StackingExpert,
        requires="dm_robotics",
        extra="stacking",
        expert_name=EXPERT_NAME,
        has_success=True,
        start=start,
        install=INSTALL,
    )


_TEST = list(enumerate(TEST_TRIPLETS, 1))
SKILLS: list[tuple[str, str, str, Triplet | None]] = [
    *((f"skill-mastery-{n}", "red", "blue", triplet) for n, triplet in _TEST),
    *((f"blue-on-green-{n}", "blue", "green", triplet) for n, triplet in _TEST),
    ("skill-generalization", "red", "blue", None),
]
TASKS = [_task(*skill, cameras) for skill in SKILLS for cameras in (False, True)]
