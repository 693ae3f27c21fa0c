"""Freedoom's maps as places to explore: 36 of its first and 32 of its second part, without their monsters.

The map is cut into squares of 128 units, and each that is entered for the first time is worth 1. Doors are opened by a button, steps and
pits are where they are. The seed turns the player and lets it walk a little before the episode begins.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.vizdoom.experts import Place, Steering
from opengato.domains.vizdoom.game import Doom, Scenario, singly
from opengato.experts.plane import Grid, Plane

SQUARE = 128.0
_BUTTONS = singly("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD", "USE")
_STEP, _HEADROOM = 24.0, 56.0  # that the player climbs at most, and fits under
_CELL, _CLEAR = 16.0, 17.0  # units of the expert's grid; from walls
_STUCK = 3  # steps forward without getting anywhere, after which a door is tried, and then another way
_AGAIN = 8  # steps from one survey to the next, at least

MAPS = {
    **{f"explore-e{part}m{level}": ("freedoom1", f"E{part}M{level}") for part in range(1, 5) for level in range(1, 10)},
    **{f"explore-map{level:02d}": ("freedoom2", f"MAP{level:02d}") for level in range(1, 33)},
}


def scenario(name: str) -> Scenario:
    """The scenario of a task of `MAPS`."""
    world, level = MAPS[name]
    return Scenario(world, _BUTTONS, world=f"{world}.wad", level=level, arguments="-nomonsters")


class Explore(Doom):
    """One map; `entered` has the squares that the player has been in."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        for button, most in (("TURN_LEFT", 50), ("MOVE_FORWARD", 30)):
            tics = int(self.np_random.integers(most))
            if tics:
                self.game.make_action([float(button == other) for other in self.buttons], tics)
        self._screen = self.game.get_state().screen_buffer
        self.entered = {self.square(*self._place())}
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = super().step(action)
        here = self.square(*self._place())
        reward = float(here not in self.entered)
        self.entered.add(here)
        return observation, reward, terminated, truncated, info

    def _place(self) -> Place:
        import vizdoom

        variable = vizdoom.GameVariable
        return self.game.get_game_variable(variable.POSITION_X), self.game.get_game_variable(variable.POSITION_Y)

    @staticmethod
    def square(x: float, y: float) -> tuple[int, int]:
        """Of a place."""
        return int(x // SQUARE), int(y // SQUARE)


def obstacles(sectors: list[Any]) -> np.ndarray:
    """(N, 2, 2): the lines that feet cannot cross as the map stands; what a door may open is none."""
    sides: dict[tuple, list[tuple[float, float, bool]]] = {}
    for sector in sectors:
        for line in sector.lines:
            ends = tuple(sorted([(line.x1, line.y1), (line.x2, line.y2)]))
            sides.setdefault(ends, []).append((sector.floor_height, sector.ceiling_height, line.is_blocking))
    found = []
    for ends, about in sides.items():
        floors, ceilings = [floor for floor, _, _ in about], [ceiling for _, ceiling, _ in about]
        closed = any(ceiling - floor < _HEADROOM for floor, ceiling, _ in about)  # a door, maybe
        low = not closed and min(ceilings) - max(floors) < _HEADROOM
        if len(about) == 1 or any(blocking for _, _, blocking in about) or max(floors) - min(floors) > _STEP or low:
            found.append(ends)
    return np.array(found, np.float64).reshape(-1, 2, 2)


class Explorer(Steering):
    """Walks to the nearest square that was not entered; knows the whole map, and learns where it cannot pass."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        super().reset(env, observation, seed)
        self._heights: Any = None
        self._no_pass: list[Place] = []
        self._before: Place | None = None
        self._still, self._lost, self._acts = 0, False, 0

    def _choose(self) -> tuple[str, ...]:
        self._acts += 1
        # A large map takes a second to survey, and where it goes on well what moves is no door.
        if self._heights is None or ((self._still or self._lost) and self._acts % _AGAIN == 0):
            self._survey()
        moved = self._before is None or self._distance(self._before) > 2.0
        self._still = 0 if moved else self._still + 1
        self._before = None
        if self._still == _STUCK:
            self._before = self._here  # the door has a moment
            return ("USE",)
        if self._still > 3 * _STUCK:
            ahead = np.radians(self._angle)
            self._no_pass.append((self._here[0] + 28 * np.cos(ahead), self._here[1] + 28 * np.sin(ahead)))
            self._still, self._heights = 0, None
            self._survey()
        target = self._next()
        self._lost = target is None
        if target is None:
            return ("TURN_LEFT",)
        bearing = self._bearing(target)
        if abs(bearing) > 14.0:
            return self._turn(bearing)
        self._before = self._here
        return ("MOVE_FORWARD",)

    def _survey(self) -> None:
        """Where feet may go, looked at again whenever a floor or a ceiling has moved."""
        sectors = self._state.sectors
        heights = [(sector.floor_height, sector.ceiling_height) for sector in sectors]
        if heights == self._heights:
            return
        self._heights = heights
        walls = obstacles(sectors)
        self._plane = Plane(walls, np.zeros((0, 3)))
        self._grid = Grid(walls.min((0, 1)) - _CELL, walls.max((0, 1)) + _CELL, _CELL)
        self._centres = self._grid.centres()
        self._clearance = self._plane.clearance_on(self._grid, 64.0)
        self._free = self._clearance > _CLEAR - _CELL / 2
        for place in self._no_pass:
            self._free &= np.hypot(*(self._centres - place).T) > 20.0
        self._squares = np.floor(self._centres / SQUARE).astype(int)

    def _next(self) -> Place | None:
        """The place furthest on the way that lies straight ahead."""
        assert self._grid is not None
        entered = np.array(sorted(self._doom.entered))
        low, high = np.minimum(self._squares.min(0), entered.min(0)), np.maximum(self._squares.max(0), entered.max(0)) + 1
        seen = np.zeros(high - low, bool)
        seen[tuple((entered - low).T)] = True
        goals = self._free & ~seen[tuple((self._squares - low).T)] & (self._clearance > _CLEAR)
        path = self._grid.way(self._free, self._grid.index(*self._here), goals)
        if path is None:
            return None
        ahead: Place = tuple(self._centres[path[min(1, len(path) - 1)]])  # type: ignore[assignment]
        for cell in path[2:20]:
            place: Place = tuple(self._centres[cell])  # type: ignore[assignment]
            points = np.linspace(self._here, place, 10)[1:]
            if not self._free[[self._grid.index(*point) for point in points]].all():
                break
            ahead = place
        return ahead
