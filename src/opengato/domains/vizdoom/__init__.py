"""ViZDoom: first-person scenarios of Doom, 60×80 pictures, played by scripts that know where everything is.

Action 0 holds no button and each other one a button, or two, for a few tics (35 a second). Rewards are the scenarios' own. Those without a
time limit of their own end after 2,100 tics, a minute of play. Beside the scenarios are Freedoom's maps, to be explored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gymnasium as gym

from opengato.domains.task import Expert, Task
from opengato.domains.vizdoom import experts
from opengato.domains.vizdoom.explore import MAPS, Explore, Explorer
from opengato.domains.vizdoom.explore import scenario as explored
from opengato.domains.vizdoom.game import PICTURE, Doom, Scenario, full_state, singly

_SIDEWAYS = singly("MOVE_LEFT", "MOVE_RIGHT", "ATTACK")
_TURRET = singly("TURN_LEFT", "TURN_RIGHT", "ATTACK")
_WALK = singly("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD")

SCENARIOS = {
    "basic": Scenario("basic", _SIDEWAYS, tics=300),
    "simpler-basic": Scenario("simpler_basic", _SIDEWAYS, tics=300),
    "rocket-basic": Scenario("rocket_basic", _SIDEWAYS, tics=300),
    "defend-the-center": Scenario("defend_the_center", _TURRET, skip=2),
    "defend-the-line": Scenario("defend_the_line", _TURRET, skip=2),
    "predict-position": Scenario("predict_position", _TURRET, skip=1, tics=300),
    "deadly-corridor": Scenario(
        "deadly_corridor", singly("MOVE_LEFT", "MOVE_RIGHT", "ATTACK", "MOVE_FORWARD", "MOVE_BACKWARD", "TURN_LEFT", "TURN_RIGHT"), skip=2
    ),
    "health-gathering": Scenario("health_gathering", _WALK),
    "health-gathering-supreme": Scenario("health_gathering_supreme", _WALK),
    "my-way-home": Scenario("my_way_home", singly("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD", "MOVE_LEFT", "MOVE_RIGHT")),
    "deathmatch": Scenario(
        "deathmatch", singly("ATTACK", "MOVE_FORWARD", "MOVE_BACKWARD", "MOVE_LEFT", "MOVE_RIGHT", "TURN_LEFT", "TURN_RIGHT")
    ),
    "take-cover": Scenario("take_cover", singly("MOVE_LEFT", "MOVE_RIGHT")),
}


def _make_expert(name: str) -> Expert:
    makers: dict[str, Callable[[], Expert]] = {
        "basic": partial(experts.Gunner, True),
        "simpler-basic": partial(experts.Gunner, True),
        "rocket-basic": partial(experts.Gunner, True),
        "defend-the-center": partial(experts.Gunner, False),
        "defend-the-line": partial(experts.Gunner, False),
        "predict-position": experts.Marksman,
        "deadly-corridor": partial(experts.Runner, 500.0),
        "health-gathering": partial(experts.Fetcher, ("CustomMedikit", "Medikit")),
        "health-gathering-supreme": partial(experts.Fetcher, ("CustomMedikit", "Medikit"), ("Poison",)),
        "my-way-home": partial(experts.Fetcher, ("GreenArmor",)),
        "deathmatch": partial(experts.Fighter, False),
        "take-cover": experts.Dodger,
    }
    return makers[name]()


def _task(name: str, scenario: Scenario, make_env: Callable[[], gym.Env], make_expert: Callable[[], Expert]) -> Task:
    return Task(
        id=f"vizdoom/{name}",
        observation_space=PICTURE,
        action_space=scenario.action_space,
        make_env=make_env,
        make_expert=make_expert,
        requires="vizdoom",
        extra="vizdoom",
        expert_name="scripted, from objects and sectors",
        start=full_state,
    )


TASKS = [
    *(_task(name, scenario, partial(Doom, scenario), partial(_make_expert, name)) for name, scenario in SCENARIOS.items()),
    *(_task(name, explored(name), partial(Explore, explored(name)), Explorer) for name in MAPS),
]
