"""BabyAI: instructions in grid worlds (minigrid), solved by its bundled bot (paper, section 4.1: BabyAI's levels).

An observation is the mission's text (at most 500 characters), the agent's direction (0 to 3: right, down, left, up) and its 7×7 view.
An action is 0 to 6: left, right, forward, pickup, drop, toggle, done. The reward is 0 until the mission is accomplished, and then
1 - 0.9 · steps / limit, where the limit is the level's own and may vary with the mission.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

# The agent's 7×7 view is symbolic, not a picture: each cell is (object type, colour, state) as small numbers.
VIEW = spaces.MultiDiscrete(np.broadcast_to(np.array([11, 6, 4]), (7, 7, 3)))
OBSERVATION_SPACE = spaces.Dict(direction=spaces.Discrete(4), image=VIEW, mission=text_space(500))
ACTION_SPACE = spaces.Discrete(7)

# Task name -> level, version v0 where none is named. Left out: the bundled bot fails on KeyInBox and PutNext…Carrying, loops on
# UnlockToUnlock and loses OpenDoorsOrder…Debug.
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
    "key-corridor-s6r3": "KeyCorridorS6R3",
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
}

# Levels of which 2,000 seeds draw the same start twice, and their relatives: empty rooms, few things, closed rooms.
FEW_STARTS = frozenset(
    """go-to-red-ball-no-dists go-to-obj go-to-obj-s4 go-to-obj-s6 go-to-local-s5n2 go-to-local-s6n2 open-red-door open-door-color
    open-two-doors open-red-blue-doors put-next-local-s5n3 put-next-s4n1 put-next-s5n1 unlock-local key-corridor-s3r1 key-corridor-s3r2
    one-room-s8 one-room-s12 one-room-s16 one-room-s20""".split()
)


class SymbolicView(gym.Wrapper):
    """Declares the 7×7 view as the symbols it holds, and reports success where the level's reward was earned."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE

    @staticmethod
    def _observation(raw: dict[str, Any]) -> dict[str, Any]:
        return {"direction": np.int64(raw["direction"]), "image": raw["image"].astype(np.int64), "mission": str(raw["mission"])}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        raw, info = self.env.reset(seed=seed, options=options)
        return self._observation(raw), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict]:
        raw, reward, terminated, truncated, info = self.env.step(int(action))
        return self._observation(raw), float(reward), terminated, truncated, {**info, "success": float(reward) > 0}


def _start(env: gym.Env) -> dict[str, Any]:
    """The whole world, with what is in its boxes, the agent's place and its mission."""
    world: Any = env.unwrapped

    def inside(thing: Any) -> list[int]:
        content = getattr(thing, "contains", None)
        return [] if content is None else [*content.encode(), *inside(content)]

    return {
        "grid": world.grid.encode(),
        "boxes": np.array([number for thing in world.grid.grid for number in inside(thing)], np.int64),
        "agent": np.array([*world.agent_pos, world.agent_dir]),
        "mission": str(world.mission),
    }


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


class _Remember(gym.Wrapper):
    """Keeps the executed action on the world itself, where the bot finds it however the environment is wrapped."""

    def reset(self, **kwargs: Any) -> Any:
        self.unwrapped.opengato_last_action = None  # type: ignore[attr-defined]
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self.unwrapped.opengato_last_action = int(action)  # type: ignore[attr-defined]
        return self.env.step(action)


def _make_env(level: str) -> gym.Env:
    import minigrid  # noqa: F401  (registers the levels)

    level = level if "-v" in level else f"{level}-v0"
    return SymbolicView(_Remember(gym.make(f"BabyAI-{level}", render_mode="rgb_array", disable_env_checker=True)))


def _make_expert() -> Expert:
    return Bot()


TASKS = [
    Task(
        id=f"babyai/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(_make_env, level),
        make_expert=_make_expert,
        requires="minigrid",
        extra="babyai",
        expert_name="BabyAI's bundled bot",
        has_success=True,
        start=_start,
        few_starts=name in FEW_STARTS,
    )
    for name, level in LEVELS.items()
]
