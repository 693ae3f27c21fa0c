"""MiniGrid: its own worlds of rooms, keys, lava and moving balls, solved by a planner over the grid.

Observation, reward and actions are those of `babyai`; with moving obstacles there are three actions: left, right, forward. Running into one
of those costs 1, and ends the episode.

One task stands for ids that differ in nothing a player would notice, and what is a level of `babyai` as it is has none. Left out: the
playground, which has neither mission nor reward, and worlds drawn by wave function collapse. Worlds that begin in a single way begin here
anywhere, as else no start could be kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from opengato.domains.grid_view import OBSERVATION_SPACE, SymbolicView, start_state
from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError
from opengato.experts.grid_planner import DONE, LEFT, GridPlanner, beside

# ---- what the planner is asked for, by kind of world ---------------------------------------------------------------------------------


def _goal(planner: GridPlanner) -> int | None:
    return planner.stand(cell for cell, thing in planner.things() if thing.type == "goal")


def _dodge(planner: GridPlanner) -> int | None:
    """Balls that stand now are walls, and where they are all around it turns until one moves."""
    planner.movable = False
    try:
        return _goal(planner)
    except OpenGatoError:
        return LEFT


def _fetch(planner: GridPlanner) -> int | None:
    planner.movable = False  # whatever is picked up first decides
    world = planner.world
    wanted = (world.targetType, world.targetColor)
    return planner.hold(thing for _, thing in planner.things() if (thing.type, thing.color) == wanted)


def _visit(planner: GridPlanner) -> int | None:
    x, y = planner.world.target_pos
    action = planner.stand(beside((int(x), int(y))))
    return DONE if action is None else action


def _remember(planner: GridPlanner) -> int | None:
    x, y = planner.world.success_pos
    return planner.stand([(int(x), int(y))])


def _pick_up(planner: GridPlanner) -> int | None:
    return planner.hold([planner.world.obj])


def _unlock(planner: GridPlanner) -> int | None:
    return planner.open([_place(planner, planner.world.door)])


def _red_then_blue(planner: GridPlanner) -> int | None:
    world = planner.world
    return planner.open([_place(planner, world.blue_door if world.red_door.is_open else world.red_door)])


def _put_near(planner: GridPlanner) -> int | None:
    planner.movable = False
    world = planner.world
    wanted = (world.move_type, world.moveColor)
    if world.carrying is None:
        return planner.hold(thing for _, thing in planner.things() if (thing.type, thing.color) == wanted)
    x, y = (int(n) for n in world.target_pos)
    return planner.put((x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1))


def _place(planner: GridPlanner, thing: Any) -> tuple[int, int]:
    return next(cell for cell, other in planner.things() if other is thing)


# ---- tasks ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A registered id, how it is solved, whether its seeds easily draw the same start, and whether it needs a past."""

    id: str
    plan: Callable[[GridPlanner], int | None]
    few_starts: bool = False
    needs_past: bool = False
    anywhere: bool = False  # begin at a random place, where the id has a fixed one
    actions: int = 7


WORLDS = {
    "empty-5x5": World("Empty-5x5-v0", _goal, few_starts=True, anywhere=True),
    "empty-6x6": World("Empty-6x6-v0", _goal, few_starts=True, anywhere=True),
    "empty-8x8": World("Empty-8x8-v0", _goal, few_starts=True, anywhere=True),
    "empty-16x16": World("Empty-16x16-v0", _goal, few_starts=True, anywhere=True),
    "four-rooms": World("FourRooms-v0", _goal),
    "dist-shift-1": World("DistShift1-v0", _goal, few_starts=True, anywhere=True),
    "dist-shift-2": World("DistShift2-v0", _goal, few_starts=True, anywhere=True),
    "lava-gap-s5": World("LavaGapS5-v0", _goal, few_starts=True),
    "lava-gap-s6": World("LavaGapS6-v0", _goal, few_starts=True),
    "lava-gap-s7": World("LavaGapS7-v0", _goal, few_starts=True),
    "lava-crossing-s9n1": World("LavaCrossingS9N1-v0", _goal, few_starts=True),
    "lava-crossing-s9n2": World("LavaCrossingS9N2-v0", _goal, few_starts=True),
    "lava-crossing-s9n3": World("LavaCrossingS9N3-v0", _goal, few_starts=True),
    "lava-crossing-s11n5": World("LavaCrossingS11N5-v0", _goal, few_starts=True),
    "simple-crossing-s9n1": World("SimpleCrossingS9N1-v0", _goal, few_starts=True),
    "simple-crossing-s9n2": World("SimpleCrossingS9N2-v0", _goal, few_starts=True),
    "simple-crossing-s9n3": World("SimpleCrossingS9N3-v0", _goal, few_starts=True),
    "simple-crossing-s11n5": World("SimpleCrossingS11N5-v0", _goal, few_starts=True),
    "multi-room-n2-s4": World("MultiRoom-N2-S4-v0", _goal, needs_past=True),
    "multi-room-n4-s5": World("MultiRoom-N4-S5-v1", _goal, needs_past=True),
    "multi-room-n6-s5": World("MultiRoom-N4-S5-v0", _goal, needs_past=True),  # six rooms, whatever its id says
    "multi-room-n6": World("MultiRoom-N6-v0", _goal, needs_past=True),
    "door-key-5x5": World("DoorKey-5x5-v0", _goal, few_starts=True),
    "door-key-6x6": World("DoorKey-6x6-v0", _goal, few_starts=True),
    "door-key-8x8": World("DoorKey-8x8-v0", _goal),
    "door-key-16x16": World("DoorKey-16x16-v0", _goal),
    "locked-room": World("LockedRoom-v0", _goal, needs_past=True),
    "dynamic-obstacles-5x5": World("Dynamic-Obstacles-5x5-v0", _dodge, few_starts=True, anywhere=True, actions=3),
    "dynamic-obstacles-6x6": World("Dynamic-Obstacles-6x6-v0", _dodge, anywhere=True, actions=3),
    "dynamic-obstacles-8x8": World("Dynamic-Obstacles-8x8-v0", _dodge, anywhere=True, actions=3),
    "dynamic-obstacles-16x16": World("Dynamic-Obstacles-16x16-v0", _dodge, anywhere=True, actions=3),
    "fetch-5x5-n2": World("Fetch-5x5-N2-v0", _fetch),
    "fetch-6x6-n2": World("Fetch-6x6-N2-v0", _fetch),
    "fetch-8x8-n3": World("Fetch-8x8-N3-v0", _fetch),
    "go-to-door-5x5": World("GoToDoor-5x5-v0", _visit),
    "go-to-door-6x6": World("GoToDoor-6x6-v0", _visit),
    "go-to-door-8x8": World("GoToDoor-8x8-v0", _visit),
    "go-to-object-6x6-n2": World("GoToObject-6x6-N2-v0", _visit),
    "go-to-object-8x8-n2": World("GoToObject-8x8-N2-v0", _visit),
    "put-near-6x6-n2": World("PutNear-6x6-N2-v0", _put_near),
    "put-near-8x8-n3": World("PutNear-8x8-N3-v0", _put_near),
    "red-blue-doors-6x6": World("RedBlueDoors-6x6-v0", _red_then_blue, few_starts=True, needs_past=True),
    "red-blue-doors-8x8": World("RedBlueDoors-8x8-v0", _red_then_blue, needs_past=True),
    "unlock": World("Unlock-v0", _unlock),
    "memory-s7": World("MemoryS7-v0", _remember, few_starts=True, needs_past=True),
    "memory-s9": World("MemoryS9-v0", _remember, few_starts=True, needs_past=True),
    "memory-s11": World("MemoryS11-v0", _remember, few_starts=True, needs_past=True),
    "memory-s13": World("MemoryS13-v0", _remember, few_starts=True, needs_past=True),
    "memory-s13-random": World("MemoryS13Random-v0", _remember, few_starts=True, needs_past=True),
    "memory-s17-random": World("MemoryS17Random-v0", _remember, few_starts=True, needs_past=True),
    "obstructed-maze-1dl": World("ObstructedMaze-1Dl-v0", _pick_up, needs_past=True),
    "obstructed-maze-1dlh": World("ObstructedMaze-1Dlh-v0", _pick_up, needs_past=True),
    "obstructed-maze-1dlhb": World("ObstructedMaze-1Dlhb-v0", _pick_up, needs_past=True),
    "obstructed-maze-2dl": World("ObstructedMaze-2Dl-v0", _pick_up, needs_past=True),
    "obstructed-maze-2dlh": World("ObstructedMaze-2Dlh-v0", _pick_up, needs_past=True),
    "obstructed-maze-2dlhb": World("ObstructedMaze-2Dlhb-v1", _pick_up, needs_past=True),
    "obstructed-maze-1q": World("ObstructedMaze-1Q-v1", _pick_up, needs_past=True),
    "obstructed-maze-2q": World("ObstructedMaze-2Q-v1", _pick_up, needs_past=True),
    "obstructed-maze-full": World("ObstructedMaze-Full-v1", _pick_up, needs_past=True),
}


class Planner:
    """Asks the planner anew at every step, of the world as it stands. Raises OpenGatoError where it finds no way."""

    def __init__(self, plan: Callable[[GridPlanner], int | None]):
        self._plan = plan

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._env = env

    def act(self, observation: Any) -> int:
        action = self._plan(GridPlanner(self._env.unwrapped))
        return LEFT if action is None else action  # only where the world should have ended


def _make_env(world: World) -> gym.Env:
    import minigrid  # noqa: F401  (registers the worlds)

    place: dict[str, Any] = {"agent_start_pos": None} if world.anywhere else {}
    env = gym.make(f"MiniGrid-{world.id}", render_mode="rgb_array", disable_env_checker=True, **place)
    return SymbolicView(env, spaces.Discrete(world.actions))


def _make_expert(plan: Callable[[GridPlanner], int | None]) -> Expert:
    return Planner(plan)


TASKS = [
    Task(
        id=f"minigrid/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=spaces.Discrete(world.actions),
        make_env=partial(_make_env, world),
        make_expert=partial(_make_expert, world.plan),
        requires="minigrid",
        extra="babyai",
        expert_name="a planner over the grid",
        has_success=True,
        start=start_state,
        few_starts=world.few_starts,
        needs_past=world.needs_past,
    )
    for name, world in WORLDS.items()
]
