"""Experts for ViZDoom's scenarios: they read where every object is, and where the walls are, and steer by that."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.experts.plane import Grid, Plane

_RADIUS = 16.0  # of the player, in the game's units
_CELL = 16.0
_SQUEEZE = 11.0  # a cell whose centre is as close to a wall may still have places where the player fits
ROCKET_SPEED = 20.0  # units a tic
Place = tuple[float, float]


class Steering:
    """What the experts share: the state of the game, bearings, lines of sight and ways around walls."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        doom: Any = env.unwrapped
        self._doom, self._scenario = doom, doom.scenario
        sectors = doom.game.get_state().sectors
        lines = Counter((line.x1, line.y1, line.x2, line.y2) for sector in sectors for line in sector.lines if line.is_blocking)
        self._walls = np.array(sorted(lines), np.float64).reshape(-1, 2, 2)
        # What two sectors share stops feet alone: there is nothing to see of it, and shots pass.
        self._opaque = np.array(sorted(line for line, sides in lines.items() if sides == 1), np.float64).reshape(-1, 2, 2)
        self._plane = Plane(self._walls, np.zeros((0, 3)))
        self._grid: Grid | None = None
        self._left: tuple[Any, list[float]] = (None, [])
        self._target_place: Place | None = None

    def act(self, observation: Any) -> int:
        self._state = self._doom.game.get_state()
        own = next(thing for thing in self._state.objects if thing.category == "Self")
        self._here: Place = (own.position_x, own.position_y)
        self._angle = float(own.angle)
        return self._scenario.action(*self._choose())

    def _choose(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _things(self, *categories: str) -> list[Any]:
        return [thing for thing in self._state.objects if thing.category in categories]

    def _distance(self, place: Place) -> float:
        return math.dist(place, self._here)

    def _bearing(self, place: Place) -> float:
        """Degrees to the left of where the player looks, in [-180, 180]."""
        there = math.degrees(math.atan2(place[1] - self._here[1], place[0] - self._here[0]))
        return math.remainder(there - self._angle, 360.0)

    def _sees(self, place: Place) -> bool:
        """Whether no wall stands between."""
        if not len(self._opaque):
            return True
        start, along = np.array(self._here), np.subtract(place, self._here)
        first, walls = self._opaque[:, 0], self._opaque[:, 1] - self._opaque[:, 0]
        turn = along[0] * walls[:, 1] - along[1] * walls[:, 0]
        turn = np.where(np.abs(turn) < 1e-9, np.inf, turn)
        gap = first - start
        on_way = (gap[:, 0] * walls[:, 1] - gap[:, 1] * walls[:, 0]) / turn
        on_wall = (gap[:, 0] * along[1] - gap[:, 1] * along[0]) / turn
        return not bool(((on_way > 0) & (on_way < 1) & (on_wall >= 0) & (on_wall <= 1)).any())

    def _turn(self, bearing: float) -> tuple[str, ...]:
        return ("TURN_LEFT",) if bearing > 0 else ("TURN_RIGHT",)

    def _walk(self, goals: Sequence[Place], shunned: Sequence[Place] = (), tolerance: float = 14.0) -> tuple[str, ...]:
        """Towards the goal that is nearest on foot, away from what is shunned."""
        target = self._onward(goals, shunned)
        bearing = self._bearing(target)
        return self._turn(bearing) if abs(bearing) > tolerance else ("MOVE_FORWARD",)

    def _onward(self, goals: Sequence[Place], shunned: Sequence[Place]) -> Place:
        """The place, some steps on the way, that lies straight ahead of here."""
        key = (tuple(goals), tuple(shunned))
        grid = self._ways()
        if self._left[0] != key:
            free = self._clearance > _SQUEEZE
            cost = np.where(self._clearance < 2 * _RADIUS, 1.5, 1.0)  # corners are taken wide
            for place in shunned:
                cost = np.where(np.hypot(*(self._centres - place).T) < 48.0, 8.0, cost)
            wanted = np.zeros(len(free), bool)
            for place in goals:
                wanted |= np.hypot(*(self._centres - place).T) < 20.0
            self._left = (key, grid.distances(free, wanted, cost).tolist())
        return self._straight(grid, self._left[1])

    def _nearest(self, places: list[Place]) -> Place:
        """The one that is nearest on foot."""
        grid = self._ways()
        goals = np.zeros(len(self._centres), bool)
        goals[grid.index(*self._here)] = True
        left = grid.distances(self._clearance > _SQUEEZE, goals)
        return min(places, key=lambda place: (left[grid.index(*place)], self._distance(place)))

    def _ways(self) -> Grid:
        if self._grid is None:
            low, high = self._walls.min((0, 1)) - _CELL, self._walls.max((0, 1)) + _CELL
            self._grid = Grid(low, high, _CELL)
            self._centres = self._grid.centres()
            self._clearance = self._plane.wall_clearance(self._centres)
        return self._grid

    def _straight(self, grid: Grid, left: list[float]) -> Place:
        columns = grid.shape[1]
        at = grid.index(*self._here)
        if left[at] == math.inf:  # squeezed against a wall: the nearest cell from which a way leads
            back = np.array(left) + 3.0 * np.hypot(*(self._centres - self._here).T)
            if not np.isfinite(back).any():
                return self._here[0] + 1.0, self._here[1]
            return tuple(self._centres[int(back.argmin())])  # type: ignore[return-value]
        ahead: Place = self._here
        for step in range(24):
            others = [at + row * columns + column for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
            following = min((other for other in others if 0 <= other < len(left)), key=lambda other: left[other])
            if left[following] >= left[at]:
                break
            at = following
            place: Place = tuple(self._centres[at])  # type: ignore[assignment]
            if step > 1 and not self._clear_way(place):
                break
            ahead = place
        return ahead

    def _clear_way(self, place: Place) -> bool:
        points = np.linspace(self._here, place, 8)[1:]
        return bool((self._plane.wall_clearance(points) > 0.9 * _RADIUS).all())


class Fetcher(Steering):
    """Walks to the nearest thing of the wanted kinds."""

    def __init__(self, wanted: tuple[str, ...], shunned: tuple[str, ...] = ()):
        self._wanted, self._shunned = wanted, shunned

    def _places(self, names: tuple[str, ...]) -> list[Place]:
        return [(thing.position_x, thing.position_y) for thing in self._state.objects if thing.name in names]

    def _choose(self) -> tuple[str, ...]:
        places, shunned = self._places(self._wanted), self._places(self._shunned)
        if not places:
            return ()
        if self._target_place not in places:  # it is kept to: a way to each, whenever one of many appears, is costly and wavers
            self._target_place = self._nearest(places)
        return self._walk([self._target_place], shunned)


class Gunner(Steering):
    """Turns, or steps aside, until a monster is in front, and fires. `sideways`: it cannot turn."""

    def __init__(self, sideways: bool, width: float = 20.0):
        self._sideways, self._width = sideways, width

    def _target(self) -> Any | None:
        seen = [thing for thing in self._things("Monster") if self._sees((thing.position_x, thing.position_y))]
        return min(seen, key=self._effort, default=None)

    def _effort(self, thing: Any) -> float:
        place = (thing.position_x, thing.position_y)
        return self._distance(place) + 3.0 * abs(self._bearing(place))

    def _choose(self) -> tuple[str, ...]:
        target = self._target()
        if target is None:
            return ()
        place = (target.position_x, target.position_y)
        bearing = self._bearing(place)
        aside = self._distance(place) * math.sin(math.radians(bearing))
        if abs(bearing) < 90 and abs(aside) < self._width:
            return ("ATTACK",)
        if self._sideways:
            return ("MOVE_LEFT",) if aside > 0 else ("MOVE_RIGHT",)
        return self._turn(bearing)


class Runner(Gunner):
    """Down a corridor: what can shoot back is shot first, then on to the armour at its end."""

    def __init__(self, reach: float):
        super().__init__(sideways=False)
        self._reach = reach

    def _choose(self) -> tuple[str, ...]:
        target = self._target()
        if target is not None and self._distance((target.position_x, target.position_y)) < self._reach:
            return super()._choose()
        armour = [(thing.position_x, thing.position_y) for thing in self._things("Armor")]
        return self._walk(armour) if armour else ("MOVE_FORWARD",)


class Fighter(Gunner):
    """All against all: fires at what it sees, and in between fetches what it lacks: health, weapons, ammunition."""

    _healthy = 60.0

    def _choose(self) -> tuple[str, ...]:
        import vizdoom

        target = self._target()
        if target is not None:
            return super()._choose()
        weak = self._doom.game.get_game_variable(vizdoom.GameVariable.HEALTH) < self._healthy
        wanted = self._things("Health") if weak else self._things("Weapon")
        places = [(thing.position_x, thing.position_y) for thing in wanted or self._things("Ammo", "Armor")]
        if not places:
            return ("TURN_LEFT",)
        if self._target_place not in places:
            self._target_place = self._nearest(places)
        return self._walk([self._target_place])


class Marksman(Steering):
    """One rocket for one monster that walks to and fro between two posts: it is fired to where the monster will be."""

    _delay = 9.0  # tics from the trigger to the rocket
    _pace = 20.0 / 3.0  # units a tic of the monster, which the game moves in jumps

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        super().reset(env, observation, seed)
        self._seen: list[float] = []

    def _choose(self) -> tuple[str, ...]:
        import vizdoom

        target = next(iter(self._things("Monster")), None)
        if target is None or not self._doom.game.get_game_variable(vizdoom.GameVariable.ATTACK_READY):
            return ()  # fired: to turn now is to turn the rocket
        self._seen = [*self._seen, float(target.position_y)][-4:]
        way = self._seen[-1] - self._seen[0]
        if not way:
            return ()
        posts = sorted(thing.position_y for thing in self._state.objects if thing.name == "PatrolPoint")
        y = target.position_y
        for _ in range(4):  # the flight is as long as the lead, and the lead as long as the flight
            flight = self._delay + self._distance((target.position_x, y)) / ROCKET_SPEED
            y = target.position_y + math.copysign(flight * self._pace, way)
            if posts and y > posts[-1]:
                y = 2 * posts[-1] - y
            elif posts and y < posts[0]:
                y = 2 * posts[0] - y
        bearing = self._bearing((target.position_x, y))
        return self._turn(bearing) if abs(bearing) > 2.0 else ("ATTACK",)


class Dodger(Steering):
    """Steps aside of what flies: of going left, right and standing, whichever keeps the fireballs furthest away."""

    _ahead = range(0, 60, 2)  # tics
    _speed = 7.0  # units a tic of a sideways step, once it is under way

    def _choose(self) -> tuple[str, ...]:
        left = (-math.sin(math.radians(self._angle)), math.cos(math.radians(self._angle)))
        balls = [thing for thing in self._state.objects if thing.name.endswith("Ball")]

        def danger(speed: float, hold: int) -> float:
            worst = 0.0
            for t in self._ahead:
                way = speed * min(t, hold)
                here = np.add(self._here, np.multiply(left, way))
                if self._plane.wall_clearance(here[None])[0] < _RADIUS:
                    here = np.array(self._here)
                for ball in balls:
                    there = (ball.position_x + t * ball.velocity_x, ball.position_y + t * ball.velocity_y)
                    worst = max(worst, math.exp(-((math.dist(here, there) / 40.0) ** 2)) * (1.0 - t / 120.0))
            room = self._plane.wall_clearance((np.add(self._here, np.multiply(left, speed * hold)))[None])[0]
            return worst + 0.02 * math.exp(-room / 60.0)

        plans = [((), 0.0, 0)]
        for hold in (8, 16, 32):
            plans += [(("MOVE_LEFT",), self._speed, hold), (("MOVE_RIGHT",), -self._speed, hold)]  # type: ignore[list-item]
        return min(plans, key=lambda plan: danger(plan[1], plan[2]))[0]
