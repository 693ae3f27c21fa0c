"""MiniHack: NetHack's rooms, mazes, corridors and doors, to be crossed to the stairs down, by an explorer who sees what is seen.

An observation is the 9×9 cells around the agent, as far as they were ever seen, each a character and its colour; where it stands on the map
of 79×21, its health, and NetHack's last message. Actions are the id's own: eight directions, and where doors are stuck and ways hidden
OPEN, KICK and SEARCH. Reaching the stairs gives 1, an action that took no time costs 0.01 (Samvelyan et al. 2021).

Of MiniHack 1.0.2's ids these are the ones of navigation that have more than one start. Left out: the crossings, which do not start with
MiniGrid 3; the keys, whose letters have no action; what there is no expert for (boulders in rivers, Memento's signs, eating one's way
through mazes), or one that mostly dies (battles, hide and seek without a map); Boxoban's levels, which are not in the package. An id that
is another's with its map drawn is a task of its own: more of it is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Expert, Task
from opengato.tokens.spaces import text_space

SIDE = 9  # cells around the agent
CHARACTERS, COLOURS = 128, 16
MAP = (21, 79)
OBSERVATION_SPACE = spaces.Dict(
    cells=spaces.MultiDiscrete(np.broadcast_to([CHARACTERS, COLOURS], (SIDE, SIDE, 2)).copy()),
    message=text_space(),
    health=spaces.Box(0, 1, (1,), np.float32),
    place=spaces.Box(np.zeros(2, np.float32), np.array([MAP[1] - 1, MAP[0] - 1], np.float32)),
)
WALK, KICK, SEARCH = 8, 10, 11  # how many actions there are where one walks, where one opens and kicks too, and where one searches too


@dataclass(frozen=True)
class Place:
    """A registered id, how many actions it has, and whether its seeds easily draw the same start, all of which is seen."""

    id: str
    actions: int = WALK
    few_starts: bool = False


PLACES = {
    "room-random-5x5": Place("Room-Random-5x5", few_starts=True),
    "room-monster-5x5": Place("Room-Monster-5x5", few_starts=True),
    "room-trap-5x5": Place("Room-Trap-5x5"),
    "room-ultimate-5x5": Place("Room-Ultimate-5x5"),
    "room-random-15x15": Place("Room-Random-15x15"),
    "room-dark-15x15": Place("Room-Dark-15x15"),
    "room-monster-15x15": Place("Room-Monster-15x15"),
    "room-trap-15x15": Place("Room-Trap-15x15"),
    "room-ultimate-15x15": Place("Room-Ultimate-15x15"),
    "corridor-r2": Place("Corridor-R2", SEARCH),
    "corridor-r3": Place("Corridor-R3", SEARCH),
    "corridor-r5": Place("Corridor-R5", SEARCH),
    "maze-walk-9x9": Place("MazeWalk-9x9"),
    "maze-walk-mapped-9x9": Place("MazeWalk-Mapped-9x9"),
    "maze-walk-15x15": Place("MazeWalk-15x15"),
    "maze-walk-mapped-15x15": Place("MazeWalk-Mapped-15x15"),
    "maze-walk-45x19": Place("MazeWalk-45x19"),
    "maze-walk-mapped-45x19": Place("MazeWalk-Mapped-45x19"),
    "multi-room-n2": Place("MultiRoom-N2"),
    "multi-room-n4": Place("MultiRoom-N4"),
    "multi-room-n6": Place("MultiRoom-N6"),
    "multi-room-n10": Place("MultiRoom-N10"),
    "multi-room-n6-open-door": Place("MultiRoom-N6-OpenDoor"),
    "multi-room-n10-open-door": Place("MultiRoom-N10-OpenDoor"),
    "multi-room-n2-locked": Place("MultiRoom-N2-Locked", KICK),
    "multi-room-n4-locked": Place("MultiRoom-N4-Locked", KICK),
    "multi-room-n6-locked": Place("MultiRoom-N6-Locked", KICK),
    "multi-room-n2-lava": Place("MultiRoom-N2-Lava"),
    "multi-room-n4-lava": Place("MultiRoom-N4-Lava"),
    "multi-room-n6-lava": Place("MultiRoom-N6-Lava"),
    "multi-room-n10-lava": Place("MultiRoom-N10-Lava"),
    "multi-room-n2-monster": Place("MultiRoom-N2-Monster"),
    "multi-room-n4-monster": Place("MultiRoom-N4-Monster"),
    "multi-room-n6-monster": Place("MultiRoom-N6-Monster"),
    "multi-room-n2-extreme": Place("MultiRoom-N2-Extreme", KICK),
    "multi-room-n4-extreme": Place("MultiRoom-N4-Extreme", KICK),
    "multi-room-n6-extreme": Place("MultiRoom-N6-Extreme", KICK),
    "multi-room-n2-lava-monsters": Place("MultiRoom-N2-LavaMonsters"),
    "multi-room-n4-lava-monsters": Place("MultiRoom-N4-LavaMonsters"),
    "multi-room-n6-lava-monsters": Place("MultiRoom-N6-LavaMonsters"),
    "hide-n-seek-mapped": Place("HideNSeek-Mapped"),
}


def _make_env(place: Place) -> gym.Env:
    from opengato.domains.minihack.play import Sight

    return Sight(place.id)


def _make_expert() -> Expert:
    from opengato.domains.minihack.play import Explorer

    return Explorer()


def _start(env: gym.Env) -> dict[str, Any]:
    """What is seen of the map, and what the rest is drawn by."""
    return {"seen": env.get_wrapper_attr("seen")["glyphs"].copy(), "seed": int(env.get_wrapper_attr("drawn_by"))}


def _seen_start(env: gym.Env) -> dict[str, Any]:
    return {"seen": env.get_wrapper_attr("seen")["glyphs"].copy()}


TASKS = [
    Task(
        id=f"minihack/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=spaces.Discrete(place.actions),
        make_env=partial(_make_env, place),
        make_expert=_make_expert,
        requires="minihack",
        extra="minihack",
        expert_name="an explorer: the shortest known way to the stairs, else to the nearest place not yet looked at",
        has_success=True,
        start=_seen_start if place.few_starts else _start,
        few_starts=place.few_starts,
        needs_past=not name.startswith("room") or "dark" in name,  # a lit room is seen whole
        install='pip install "opengato[minihack]" && pip install --no-deps nle==1.3.0 minihack==1.0.2',
    )
    for name, place in PLACES.items()
]
