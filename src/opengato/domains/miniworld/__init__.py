"""MiniWorld: mazes, rooms and streets seen through one's own eyes, 60×80, crossed by A* on the true pose.

An action is a turn by 15 degrees, a step of 0.15 m, and where there is something to take also: back, pick up, drop, toggle, done. In the
"fast" ones and at the sign a turn is 45 degrees and a step 0.7 m. Reaching what is to be reached is worth 1 - 0.2 · steps / limit.

Three of MiniWorld's 23 are changed, since as they come they are no tasks: `three-rooms` and `room-objects` have no reward there; here the
red box is to be reached in the former, and in the latter each of the three things, 1 for each. At the `sign` the word and the kind of thing
asked for are the same in all its episodes; here the seed draws both, so that it must be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.miniworld import world
from opengato.domains.miniworld.world import PICTURE
from opengato.domains.task import Expert, Task

SIGN = spaces.Dict(goal=spaces.Discrete(2), obs=PICTURE)
ROOM_OBJECTS_STEPS = 400


class _Level(gym.Wrapper):
    """A level of MiniWorld, its rewards floats and its success told: `solved(world, reward)`, once true, stays so."""

    def __init__(self, world: Any, solved: Callable[[Any, float], bool]):
        super().__init__(world)
        self._solved, self._success = solved, False

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        self._success = False
        observation, _ = self.env.reset(seed=seed, options=options)
        return observation, {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self.env.step(int(action))
        self._success = self._success or self._solved(self.unwrapped, float(reward))
        return observation, float(reward), bool(terminated), bool(truncated) and not terminated, {**info, "success": self._success}


class _ReachRedBox(gym.Wrapper):
    """`three-rooms`: reaching the red box ends the episode, worth what it is worth in MiniWorld's other rooms."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, _, truncated, info = self.env.step(action)
        world: Any = self.unwrapped
        reached = world.near(world.box)
        return observation, float(world._reward()) if reached else 0.0, reached, truncated, info


class _VisitAll(gym.Wrapper):
    """`room-objects`: each of the things is worth 1 when it is first reached; `to_visit` has those that are left."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        observation, info = self.env.reset(seed=seed, options=options)
        world: Any = self.unwrapped
        world.agent.radius = 0.4  # wide only while it was placed, so that it began far from them
        world.to_visit = [thing for thing in world.entities if thing is not world.agent]
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, _, _, info = self.env.step(action)
        world: Any = self.unwrapped
        reached = [thing for thing in world.to_visit if world.near(thing)]
        world.to_visit = [thing for thing in world.to_visit if thing not in reached]
        return observation, len(reached), not world.to_visit, world.step_count >= ROOM_OBJECTS_STEPS, info


class _DrawnSign(gym.Wrapper):
    """`sign`: the seed draws which colour is written and whether a box (0) or a key (1) is asked for."""

    def __init__(self, world: Any):
        super().__init__(world)
        self.observation_space, self._drawn = SIGN, np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        world: Any = self.unwrapped
        if seed is not None:
            self._drawn = np.random.default_rng([seed, 1])
        world.set_color_index(int(self._drawn.integers(3)))
        world._goal = int(self._drawn.integers(2))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._typed(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, *rest = self.env.step(action)
        return self._typed(observation), *rest  # type: ignore[return-value]

    @staticmethod
    def _typed(observation: dict[str, Any]) -> dict[str, Any]:
        return {"goal": np.int64(observation["goal"]), "obs": observation["obs"]}


def _earned(world: Any, reward: float) -> bool:
    return reward > 0


def _took_all(world: Any, reward: float) -> bool:
    return world.num_picked_up == world.num_objs


def _visited_all(world: Any, reward: float) -> bool:
    return not world.to_visit


def _survived(world: Any, reward: float) -> bool:
    return world.health > 0 and world.step_count >= world.max_episode_steps


@dataclass(frozen=True)
class _Kind:
    """What a level asks for.

    Attributes:
        actions: how many of MiniWorld's it has. solved: see `_Level`. errand: the expert's, of `walker.ERRANDS`.
        wrapper: what is changed in it.
    """

    actions: int
    solved: Callable[[Any, float], bool]
    errand: str
    wrapper: Callable[[Any], gym.Env] | None = None


_REACH = _Kind(3, _earned, "red box")
_KINDS = {
    "three-rooms": _Kind(3, _earned, "red box", _ReachRedBox),
    "room-objects": _Kind(8, _visited_all, "visit all", _VisitAll),
    "pickup-objects": _Kind(5, _took_all, "take all"),
    "collect-health": _Kind(8, _survived, "keep healthy"),
    "put-next": _Kind(8, _earned, "put next"),
    "sign": _Kind(4, _earned, "sign", _DrawnSign),
    "sidewalk": _Kind(3, _earned, "pavement"),
}

# Task name -> MiniWorld's class.
LEVELS = {
    "collect-health": "CollectHealth",
    "four-rooms": "FourRooms",
    "hallway": "Hallway",
    "maze": "Maze",
    "maze-s2": "MazeS2",
    "maze-s3": "MazeS3",
    "maze-s3-fast": "MazeS3Fast",
    "one-room": "OneRoom",
    "one-room-s6": "OneRoomS6",
    "one-room-s6-fast": "OneRoomS6Fast",
    "pickup-objects": "PickupObjects",
    "put-next": "PutNext",
    "room-objects": "RoomObjects",
    "sidewalk": "Sidewalk",
    "sign": "Sign",
    "t-maze": "TMaze",
    "t-maze-left": "TMazeLeft",
    "t-maze-right": "TMazeRight",
    "three-rooms": "ThreeRooms",
    "wall-gap": "WallGap",
    "y-maze": "YMaze",
    "y-maze-left": "YMazeLeft",
    "y-maze-right": "YMazeRight",
}


def _make_env(name: str) -> gym.Env:
    kind = _KINDS.get(name, _REACH)
    level = world.make_world(world.bundled(LEVELS[name]))
    return _Level(kind.wrapper(level) if kind.wrapper is not None else level, kind.solved)


def _make_expert(errand: str) -> Expert:
    from opengato.domains.miniworld.walker import ERRANDS, Walker

    return Walker(ERRANDS[errand])


def _start(env: gym.Env) -> dict[str, Any]:
    return {**world.full_state(env), "goal": getattr(env.unwrapped, "_goal", 0)}


def _task(name: str) -> Task:
    kind = _KINDS.get(name, _REACH)
    return Task(
        id=f"miniworld/{name}",
        observation_space=SIGN if name == "sign" else PICTURE,
        action_space=spaces.Discrete(kind.actions),
        make_env=partial(_make_env, name),
        make_expert=partial(_make_expert, kind.errand),
        requires="miniworld",
        extra="miniworld",
        expert_name="A* on the true pose",
        has_success=True,
        start=_start,
    )


TASKS = [_task(name) for name in LEVELS]
