"""What an agent sees of MiniHack, and the explorer that finds the stairs."""

from __future__ import annotations

import heapq
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.minihack import CHARACTERS, COLOURS, MAP, OBSERVATION_SPACE, SIDE

_SEEN = ("glyphs", "chars", "colors", "chars_crop", "colors_crop", "blstats", "message")
_X, _Y, _HP, _MAX_HP = 0, 1, 10, 11  # of NLE's statistics


class Sight(gym.Wrapper):
    """A MiniHack id, as the domain observes it.

    Attributes:
        seen: all that NetHack showed last, by NLE's names. drawn_by: the seed of the episode.
    """

    def __init__(self, name: str):
        import minihack  # noqa: F401  (registers the ids)

        env = gym.make(f"MiniHack-{name}-v0", observation_keys=_SEEN, obs_crop_h=SIDE, obs_crop_w=SIDE, disable_env_checker=True)
        super().__init__(env)
        inner: Any = self.unwrapped
        if hasattr(inner, "minigrid_env"):
            inner.minigrid_env = _Seeded(inner.minigrid_env)
        self._painter: Any = None  # of pictures, where somebody looks
        self.observation_space, self.action_space = OBSERVATION_SPACE, spaces.Discrete(len(inner.actions))

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        return "rgb_array"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None or not hasattr(self, "drawn_by"):
            self._rng = np.random.default_rng(seed)
        self.drawn_by = int(self._rng.integers(1 << 31)) if seed is None else seed
        inner: Any = self.unwrapped
        inner.seed(self.drawn_by, self.drawn_by, reseed=False)  # reset's own seed does not reach NetHack
        self.seen, info = self.env.reset()
        return self._observe(), {**info, "success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.seen, reward, terminated, truncated, info = self.env.step(int(action))
        inner: Any = self.unwrapped
        won = info["end_status"] == inner.StepStatus.TASK_SUCCESSFUL
        # Time that is up ends an episode by NLE's rules; by Gymnasium's it is cut off.
        cut = truncated or info["end_status"] == inner.StepStatus.ABORTED
        return self._observe(), float(reward), terminated and not cut, cut, {**info, "success": bool(won)}

    def render(self) -> Any:
        from minihack.tiles import GlyphMapper

        if self._painter is None:
            self._painter = GlyphMapper()
        return np.asarray(self._painter.to_rgb(self.seen["glyphs"]), np.uint8)

    def _observe(self) -> dict[str, Any]:
        seen = self.seen
        cells = np.stack([np.minimum(seen["chars_crop"], CHARACTERS - 1), seen["colors_crop"] % COLOURS], -1)
        x, y, health, most = (float(seen["blstats"][at]) for at in (_X, _Y, _HP, _MAX_HP))
        return {
            "cells": cells.astype(np.int64),
            "message": _said(seen),
            "health": np.array([np.clip(health / max(most, 1), 0, 1)], np.float32),
            "place": np.array([x, y], np.float32),
        }


class _Seeded(gym.Wrapper):
    """The MiniGrid world that a level of several rooms is drawn as, seeded as MiniGrid 3 is."""

    def seed(self, seed: int | None) -> None:
        self._seed = seed

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=self._seed)


def _said(seen: dict[str, Any]) -> str:
    return bytes(seen["message"]).partition(b"\0")[0].decode("ascii", "replace")


# ---- the explorer ------------------------------------------------------------------------------------------------------------------------

_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))  # rows and columns, in the order of the actions
_KICK, _SEARCH = 9, 10
# NetHack's symbols of the map, as their numbers stand among its glyphs.
_STONE, _WALLS, _OPEN_DOORS, _CLOSED_DOORS = 0, range(1, 12), (13, 14), (15, 16)
_BLOCKED, _STAIRS_DOWN, _WATER, _LAVA = (17, 18), 24, (32, 41), 34  # blocked: bars and trees
_TRAPS = range(42, 64)
_TRAP, _FIGHT, _BOULDER = 40.0, 3.0, 6.0  # what entering such a cell costs, in steps

_FLOATING_EYE = 28  # of NetHack's monsters; whoever hits it is paralysed

Cell = tuple[int, int]


class Explorer:
    """Goes the shortest known way to the stairs, else to the nearest cell from which something may not yet have been seen.

    It knows what NetHack has shown, on the whole map, and which cells it stood on. Traps are gone round, monsters fought, locked doors
    kicked; where nothing is left to be looked at it searches for what is hidden.
    """

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        from nle import nethack

        self._nethack, self._env = nethack, env
        self._boulder = nethack.GLYPH_OBJ_OFF + _boulder(nethack)
        self._rng = np.random.default_rng(seed)
        self._stood: dict[Cell, int] = {}
        self._locked: set[Cell] = set()
        self._stuck: set[tuple[Cell, Cell]] = set()
        self._tried: tuple[Cell, Cell] | None = None
        self._doors = np.zeros(MAP, bool)  # those that one stands in are not seen

    def act(self, observation: Any) -> int:
        seen = self._env.get_wrapper_attr("seen")
        here = int(seen["blstats"][_Y]), int(seen["blstats"][_X])
        said = _said(seen)
        actions = int(self._env.action_space.n)  # type: ignore[attr-defined]
        self._learn(here, said)
        cost, symbol, foes = self._map(seen["glyphs"].astype(int))
        foe = self._beside(here, foes)
        way = self._way(here, cost, symbol) if foe is None or "direction" in said else foe
        if way is None:
            self._stood[here] = self._stood.get(here, 0) + 1
            if actions > _SEARCH and "direction" not in said:
                self._tried = None
                return _SEARCH
            return int(self._rng.integers(len(_MOVES)))
        move = _MOVES.index((way[0] - here[0], way[1] - here[1]))
        if way in self._locked and symbol[way] in _CLOSED_DOORS and actions > _KICK and "direction" not in said:
            self._tried = None
            return _KICK
        self._tried = (here, way) if foe is None else None
        return move

    def _learn(self, here: Cell, said: str) -> None:
        if self._tried is not None:
            before, wanted = self._tried
            if "locked" in said:
                self._locked.add(wanted)
            elif "WHAMM" not in said and here == before and ("You try to move" in said or "can't move diagonally" in said or not said):
                self._stuck.add(self._tried)
        if here not in self._stood:
            self._stuck.clear()  # what was in the way may have gone on
        self._stood.setdefault(here, 0)

    def _beside(self, here: Cell, foes: np.ndarray) -> Cell | None:
        """A monster within reach: who walks on is bitten from behind."""
        for i, j in _MOVES:
            other = here[0] + i, here[1] + j
            if 0 <= other[0] < MAP[0] and 0 <= other[1] < MAP[1] and foes[other]:
                if not (i and j and (self._doors[here] or self._doors[other])):
                    return other
        return None

    def _way(self, here: Cell, cost: np.ndarray, symbol: np.ndarray) -> Cell | None:
        """The next cell on the cheapest known way to the stairs, or to where there is more to see; None where neither is known."""
        goals = symbol == _STAIRS_DOWN
        distance, before = self._search(here, cost)
        if not (goals & np.isfinite(distance)).any():
            unknown = np.pad(symbol == _STONE, 1)
            beside = np.zeros(symbol.shape, bool)
            for i, j in _MOVES:
                beside |= unknown[1 + i : 1 + i + symbol.shape[0], 1 + j : 1 + j + symbol.shape[1]]
            goals = beside & np.isfinite(cost)
            for cell in self._stood:
                goals[cell] = False
            goals |= np.isin(symbol, _CLOSED_DOORS)
        reachable = np.where(goals, distance, np.inf)
        target = np.unravel_index(int(reachable.argmin()), reachable.shape)
        if not np.isfinite(reachable[target]):
            return self._hidden(here, distance, before)
        return self._first(here, (int(target[0]), int(target[1])), before)

    def _hidden(self, here: Cell, distance: np.ndarray, before: dict[Cell, Cell]) -> Cell | None:
        """Where to go to search: the place searched least, of those beside each other the nearest; None: here."""
        fewest = min(self._stood.values())
        if self._stood[here] <= fewest + 4:  # a few times at one place
            return None
        places = [cell for cell, times in self._stood.items() if times <= fewest and np.isfinite(distance[cell])]
        target = min(places, key=lambda cell: float(distance[cell]), default=here)
        return None if target == here else self._first(here, target, before)

    @staticmethod
    def _first(here: Cell, target: Cell, before: dict[Cell, Cell]) -> Cell | None:
        if target == here:
            return None
        while before[target] != here:
            target = before[target]
        return target

    def _map(self, glyphs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What entering each cell costs, inf where it cannot be entered; the map's symbol there, -1 of what is no part of the map; and
        where monsters are that are better fought."""
        nethack = self._nethack
        offset, count = nethack.GLYPH_CMAP_OFF, nethack.GLYPH_EXPLODE_OFF - nethack.GLYPH_CMAP_OFF
        symbol = np.where((glyphs >= offset) & (glyphs < offset + count), glyphs - offset, -1)
        self._doors = np.where(symbol >= 0, np.isin(symbol, (*_OPEN_DOORS, *_CLOSED_DOORS)), self._doors)
        closed = (symbol == _STONE) | np.isin(symbol, _WALLS) | np.isin(symbol, _BLOCKED) | (symbol == _LAVA) | np.isin(symbol, _WATER)
        cost = np.where(closed, np.inf, 1.0)
        cost[np.isin(symbol, _TRAPS)] = _TRAP
        monsters = (glyphs >= nethack.GLYPH_MON_OFF) & (glyphs < nethack.GLYPH_PET_OFF)
        cost[monsters] = _FIGHT
        paralysing = glyphs == nethack.GLYPH_MON_OFF + _FLOATING_EYE
        cost[paralysing] = np.inf
        cost[glyphs == self._boulder] = _BOULDER
        return cost, symbol, monsters & ~paralysing

    def _search(self, here: Cell, cost: np.ndarray) -> tuple[np.ndarray, dict[Cell, Cell]]:
        """Dijkstra's distances, (rows, columns), inf where there is no way, and the cell before each."""
        distance = np.full(cost.shape, np.inf)
        distance[here] = 0
        before: dict[Cell, Cell] = {}
        queue: list[tuple[float, int, int]] = [(0.0, *here)]
        while queue:
            far, i, j = heapq.heappop(queue)
            if far > distance[i, j]:
                continue
            for a, b in _MOVES:
                other = i + a, j + b
                if not (0 <= other[0] < cost.shape[0] and 0 <= other[1] < cost.shape[1]) or ((i, j), other) in self._stuck:
                    continue
                if a and b and (self._doors[i, j] or self._doors[other]):
                    continue  # nobody goes through a door slantwise
                new = far + cost[other] + (0.001 if a and b else 0)
                if new < distance[other]:
                    distance[other], before[other] = new, (i, j)
                    heapq.heappush(queue, (new, *other))
        return distance, before


def _boulder(nethack: Any) -> int:
    """The number of boulders among NetHack's objects."""
    return next(i for i in range(nethack.NUM_OBJECTS) if nethack.OBJ_NAME(nethack.objclass(i)) == "boulder")
