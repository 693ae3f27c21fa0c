"""BabyAI: instructions in grid worlds (minigrid), solved by its bundled bot or a planner (paper, section 4.1: BabyAI's levels).

An observation is the mission's text (at most 500 characters), the agent's direction (0 to 3: right, down, left, up) and its 7×7 view.
An action is 0 to 6: left, right, forward, pickup, drop, toggle, done. The reward is 0 until the mission is accomplished, and then
1 - 0.9 · steps / limit, where the limit is the level's own and may vary with the mission.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from opengato.domains.grid_view import ACTION_SPACE, OBSERVATION_SPACE, SymbolicView, start_state
from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError
from opengato.experts.grid_planner import LEFT, GridPlanner, beside

# Task name -> level, version v0 where none is named. Left out: OpenDoorsOrder…Debug, where every "then" is lost (the toggle that opens
# the first door is held against the second), and KeyCorridorS6R3, which is KeyCorridor.
LEVELS = {
    "go-to-red-ball-grey": "GoToRedBallGrey",
    "go-to-red-ball": "GoToRedBall",
    "go-to-red-ball-no-dists": "GoToRedBallNoDists",
    "go-to-obj": "GoToObj",
    "go-to-obj-s4": "GoToObjS4",
    "go-to-obj-s6": "GoToObjS6-v1",
    "go-to-local": "GoToLocal",
    "go-to-local-s5n2": "GoToLocalS5N2",
    "go-to-local-s6n2": "GoToLocalS6N2",
    "go-to-local-s6n3": "GoToLocalS6N3",
    "go-to-local-s6n4": "GoToLocalS6N4",
    "go-to-local-s7n4": "GoToLocalS7N4",
    "go-to-local-s7n5": "GoToLocalS7N5",
    "go-to-local-s8n2": "GoToLocalS8N2",
    "go-to-local-s8n3": "GoToLocalS8N3",
    "go-to-local-s8n4": "GoToLocalS8N4",
    "go-to-local-s8n5": "GoToLocalS8N5",
    "go-to-local-s8n6": "GoToLocalS8N6",
    "go-to-local-s8n7": "GoToLocalS8N7",
    "go-to": "GoTo",
    "go-to-open": "GoToOpen",
    "go-to-obj-maze": "GoToObjMaze",
    "go-to-obj-maze-open": "GoToObjMazeOpen",
    "go-to-obj-maze-s4r2": "GoToObjMazeS4R2",
    "go-to-obj-maze-s4": "GoToObjMazeS4",
    "go-to-obj-maze-s5": "GoToObjMazeS5",
    "go-to-obj-maze-s6": "GoToObjMazeS6",
    "go-to-obj-maze-s7": "GoToObjMazeS7",
    "go-to-imp-unlock": "GoToImpUnlock",
    "go-to-seq": "GoToSeq",
    "go-to-seq-s5r2": "GoToSeqS5R2",
    "go-to-red-blue-ball": "GoToRedBlueBall",
    "go-to-door": "GoToDoor",
    "go-to-obj-door": "GoToObjDoor",
    "open": "Open",
    "open-red-door": "OpenRedDoor",
    "open-door": "OpenDoor",
    "open-door-color": "OpenDoorColor",
    "open-door-loc": "OpenDoorLoc",
    "open-two-doors": "OpenTwoDoors",
    "open-red-blue-doors": "OpenRedBlueDoors",
    "open-doors-order-n2": "OpenDoorsOrderN2",
    "open-doors-order-n4": "OpenDoorsOrderN4",
    "pickup": "Pickup",
    "unblock-pickup": "UnblockPickup",
    "pickup-loc": "PickupLoc",
    "pickup-dist": "PickupDist",
    "pickup-above": "PickupAbove",
    "put-next-local": "PutNextLocal",
    "put-next-local-s5n3": "PutNextLocalS5N3",
    "put-next-local-s6n4": "PutNextLocalS6N4",
    "put-next-s4n1": "PutNextS4N1",
    "put-next-s5n2": "PutNextS5N2",
    "put-next-s5n1": "PutNextS5N1",
    "put-next-s6n3": "PutNextS6N3",
    "put-next-s7n4": "PutNextS7N4",
    "unlock": "Unlock",
    "unlock-local": "UnlockLocal",
    "unlock-local-dist": "UnlockLocalDist",
    "key-corridor": "KeyCorridor",
    "key-corridor-s3r1": "KeyCorridorS3R1",
    "key-corridor-s3r2": "KeyCorridorS3R2",
    "key-corridor-s3r3": "KeyCorridorS3R3",
    "key-corridor-s4r3": "KeyCorridorS4R3",
    "key-corridor-s5r3": "KeyCorridorS5R3",
    "one-room-s8": "OneRoomS8",
    "one-room-s12": "OneRoomS12",
    "one-room-s16": "OneRoomS16",
    "one-room-s20": "OneRoomS20",
    "move-two-across-s5n2": "MoveTwoAcrossS5N2",
    "move-two-across-s8n9": "MoveTwoAcrossS8N9",
    "synth": "Synth",
    "synth-s5r2": "SynthS5R2",
    "synth-loc": "SynthLoc",
    "synth-seq": "SynthSeq",
    "mini-boss-level": "MiniBossLevel",
    "boss-level": "BossLevel",
    "boss-level-no-unlock": "BossLevelNoUnlock",
    "find-obj-s5": "FindObjS5",
    "find-obj-s6": "FindObjS6",
    "find-obj-s7": "FindObjS7",
    "action-obj-door": "ActionObjDoor",
    "blocked-unlock-pickup": "BlockedUnlockPickup",
    "unlock-pickup": "UnlockPickup",
    "unlock-pickup-dist": "UnlockPickupDist",
    "open-door-debug": "OpenDoorDebug",
    "open-red-blue-doors-debug": "OpenRedBlueDoorsDebug",
    "pickup-dist-debug": "PickupDistDebug",
    "key-in-box": "KeyInBox",
    "put-next-s5n2-carrying": "PutNextS5N2Carrying",
    "put-next-s6n3-carrying": "PutNextS6N3Carrying",
    "put-next-s7n4-carrying": "PutNextS7N4Carrying",
    "unlock-to-unlock": "UnlockToUnlock",
}

# Those on which the bundled bot fails: it looks into no box, expects empty hands, or goes in circles.
PLANNED = frozenset("key-in-box put-next-s5n2-carrying put-next-s6n3-carrying put-next-s7n4-carrying unlock-to-unlock".split())

# Levels of which 2,000 seeds draw the same start twice, and their relatives: empty rooms, few things, closed rooms.
FEW_STARTS = frozenset(
    """go-to-red-ball-no-dists go-to-obj go-to-obj-s4 go-to-obj-s6 go-to-local-s5n2 go-to-local-s6n2 open-red-door open-door-color
    open-two-doors open-red-blue-doors put-next-local-s5n3 put-next-s4n1 put-next-s5n1 unlock-local key-corridor-s3r1 key-corridor-s3r2
    one-room-s8 one-room-s12 one-room-s16 one-room-s20""".split()
)

# Levels on which agents that are taught from single timesteps fail (docs/ablations.md), and their relatives: doors and tasks in an order,
# keys of which one must know the door.
NEEDS_PAST = frozenset(
    """open-two-doors open-red-blue-doors open-red-blue-doors-debug open-doors-order-n2 open-doors-order-n4 go-to-seq go-to-seq-s5r2
    synth-seq mini-boss-level boss-level boss-level-no-unlock unlock go-to-imp-unlock unlock-to-unlock""".split()
)

MOST_SEARCHES = 500  # of one plan; the levels here need 11 at most, and a bot that goes in circles would search for ever


@cache
def _bot_class() -> Callable[[gym.Env], Any]:
    """The bundled bot, stopped where its plan goes in circles."""
    from minigrid.utils.baby_ai_bot import BabyAIBot

    class BoundedBot(BabyAIBot):
        def replan(self, action_taken: Any = None) -> Any:
            self._last_search = self.bfs_counter + MOST_SEARCHES
            return super().replan(action_taken)

        def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
            if self.bfs_counter >= self._last_search:
                raise RuntimeError(f"no plan after {MOST_SEARCHES} searches")
            return super()._breadth_first_search(*args, **kwargs)

    return BoundedBot


class Bot:
    """The bundled bot, asked at every step: `act` is told which action was executed, and plans its way back from there.

    Where the bot loses the thread (it asserts what only its own actions ensure, and gives up when a box was opened), a new one starts
    from the world as it is. Raises OpenGatoError where that one finds no plan either, as when a needed object is gone.
    """

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._env, self._bot = env, _bot_class()(env)

    def act(self, observation: Any) -> int:
        # None at the first step, and in an environment without `_Remember`: the bot then takes its own advice as executed.
        executed = getattr(self._env.unwrapped, "opengato_last_action", None)
        try:
            return int(self._bot.replan(executed))
        except Exception:  # the bot raises whatever its bookkeeping stumbles over
            self._bot = _bot_class()(self._env)
        try:
            return int(self._bot.replan())
        except Exception as error:
            raise OpenGatoError(f"the bot finds no plan for {observation['mission']!r}: {error!r}; draw another seed") from error


class Instructed:
    """A planner over the grid, asked at every step for what the mission wants: a thing picked up, put beside another, or a door opened.

    Raises OpenGatoError where it finds no way.
    """

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._world: Any = env.unwrapped

    def act(self, observation: Any) -> int:
        planner = GridPlanner(self._world)
        wanted = self._world.instrs
        name = type(wanted).__name__
        if name == "PutNextInstr":
            moved, fixed = wanted.desc_move.obj_set, wanted.desc_fixed.obj_set
            if any(self._world.carrying is thing for thing in moved):
                action: int | None = planner.put(cell for at in self._cells(planner, fixed) for cell in beside(at))
            else:
                action = planner.hold(moved)
        elif name == "OpenInstr":
            action = planner.open(self._cells(planner, wanted.desc.obj_set))
        elif name == "PickupInstr":
            action = planner.hold(wanted.desc.obj_set)
        else:
            raise OpenGatoError(f"the planner knows no {name} in {observation['mission']!r}: leave this level to the bot")
        return LEFT if action is None else action  # only where the episode should have ended

    @staticmethod
    def _cells(planner: GridPlanner, things: Any) -> list[tuple[int, int]]:
        return [cell for cell, other in planner.things() if any(other is thing for thing in things)]


class _Remember(gym.Wrapper):
    """Keeps the executed action on the world itself, where the bot finds it however the environment is wrapped."""

    def reset(self, **kwargs: Any) -> Any:
        self.unwrapped.opengato_last_action = None  # type: ignore[attr-defined]
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self.unwrapped.opengato_last_action = int(action)  # type: ignore[attr-defined]
        return self.env.step(action)


def make_level(name: str, view: Callable[[gym.Env], gym.Env] = SymbolicView) -> gym.Env:
    """The level of a name in `LEVELS`, seen through a view of `grid_view`."""
    import minigrid  # noqa: F401  (registers the levels)

    level = LEVELS[name]
    level = level if "-v" in level else f"{level}-v0"
    return view(_Remember(gym.make(f"BabyAI-{level}", render_mode="rgb_array", disable_env_checker=True)))


def make_expert(name: str) -> Expert:
    """What solves the level of a name in `LEVELS`."""
    return Instructed() if name in PLANNED else Bot()


def level_task(domain: str, name: str, view: Callable[[gym.Env], gym.Env], observation_space: spaces.Space) -> Task:
    """The level of a name in `LEVELS` as a task of a domain, seen through a view of `grid_view`, which has these observations."""
    return Task(
        id=f"{domain}/{name}",
        observation_space=observation_space,
        action_space=ACTION_SPACE,
        make_env=partial(make_level, name, view),
        make_expert=partial(make_expert, name),
        requires="minigrid",
        extra="babyai",
        expert_name="a planner over the grid" if name in PLANNED else "BabyAI's bundled bot",
        has_success=True,
        start=start_state,
        few_starts=name in FEW_STARTS,
        needs_past=name in NEEDS_PAST,
    )


TASKS = [level_task("babyai", name, SymbolicView, OBSERVATION_SPACE) for name in LEVELS]
