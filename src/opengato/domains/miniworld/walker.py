"""The expert of MiniWorld's rooms: it knows where everything is, plans turns and steps by A*, and says what to do on arrival."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.miniworld import world as actions
from opengato.experts.plane import Grid, Plane
from opengato.experts.turn_and_walk import FORWARD, LEFT, Gait, Pose, moves_to

_CELL = 0.125  # metres, of the grid on which the way that is left is estimated
_MOVES = {FORWARD: actions.FORWARD, LEFT: actions.TURN_LEFT}
_SAME = 1e-6  # poses nearer to one another are the same
_NOBODY_STANDS_CLOSER = 0.06  # of two whose discs touch, as a share of a metre: the search's places are not the world's to the last digit


def _flat(thing: Any) -> tuple[float, float]:
    return float(thing.pos[0]), float(thing.pos[2])


def _apart(pose: Pose, thing: Any) -> float:
    x, z = _flat(thing)
    return math.hypot(pose.x - x, pose.y - z)


def _inside(rectangle: tuple[float, float, float, float], x: Any, z: Any) -> Any:
    """Whether a place is in a rectangle; of arrays, for each."""
    return (x > rectangle[0]) & (x < rectangle[1]) & (z > rectangle[2]) & (z < rectangle[3])


def pose_of(world: Any) -> Pose:
    """Where the agent stands, x and z, and looks."""
    return Pose(float(world.agent.pos[0]), float(world.agent.pos[2]), float(world.agent.dir))


def near_distance(world: Any, thing: Any, other: Any) -> float:
    """Centres closer than this are `near`, as MiniWorld has it."""
    return thing.radius + other.radius + 1.1 * world.max_forward_step


def carried_ahead(world: Any, thing: Any) -> float:
    """How far ahead of the agent a thing is held, centre to centre."""
    return 1.05 * (world.agent.radius + thing.radius + world.max_forward_step)


class View:
    """A world as the walker sees it: what is in the way of it and of what it carries, while nothing else moves.

    `before`: an earlier view of the same episode, whose walls are these.
    """

    def __init__(self, world: Any, before: View | None = None):
        self.world = world
        self.carried = world.agent.carrying
        others = [thing for thing in world.entities if thing is not world.agent and thing is not self.carried]
        self.around = tuple((*_flat(thing), float(thing.radius)) for thing in others)
        self.plane = Plane(np.asarray(world.wall_segs)[:, :, [0, 2]], np.array(self.around).reshape(-1, 3))
        rooms = world.rooms
        self.grid = Grid(
            np.array([min(room.min_x for room in rooms), min(room.min_z for room in rooms)]),
            np.array([max(room.max_x for room in rooms), max(room.max_z for room in rooms)]),
            _CELL,
        )
        self._walls: list[float] | None = before._walls if before is not None else None

    def clear(self, x: float, z: float, radius: float) -> bool:
        """Whether a disc fits here, as the world will decide."""
        for other_x, other_z, other in self.around:
            if math.hypot(x - other_x, z - other_z) < radius + other:
                return False
        if self._walls is None:
            self._walls = self.plane.wall_clearance(self.grid.centres()).tolist()
        about = self._walls[self.grid.index(x, z)]  # of the cell's centre, and here it differs by half a diagonal at most
        if abs(about - radius) > 0.75 * _CELL:
            return about > radius
        return bool(self.plane.wall_clearance(np.array([[x, z]]))[0] >= radius)

    def allowed(self, pose: Pose, move: str) -> bool:
        """Whether the world lets the agent, and what it carries, get into this pose."""
        if move == FORWARD and not self.clear(pose.x, pose.y, self.world.agent.radius):
            return False
        if self.carried is None:
            return True
        held = pose.ahead(carried_ahead(self.world, self.carried))
        return self.clear(held.x, held.y, self.carried.radius)


@dataclass(frozen=True)
class Aim:
    """What the walker is after.

    Attributes:
        reached: whether this pose will do. action: done there; None: arriving is all.
        places: centres (x, z) with the distance from each within which it may be reached, for the estimate.
        shunned: centres with the distance from each that must be kept.
        forbidden: a rectangle, (min_x, max_x, min_z, max_z), not to be entered.
    """

    reached: Callable[[Pose], bool]
    action: int | None
    places: Sequence[tuple[float, float, float]]
    shunned: Sequence[tuple[float, float, float]] = ()
    forbidden: tuple[float, float, float, float] | None = None


# What is next, in a world as it stands: an aim, an action, or nothing that could be done.
Errand = Callable[[Any], "Aim | int | None"]


def stand_near(world: Any, thing: Any, **more: Any) -> Aim:
    """The aim to come near a thing."""
    limit = near_distance(world, thing, world.agent)
    return Aim(lambda pose: _apart(pose, thing) < limit - _SAME, None, [(*_flat(thing), limit)], **more)


def take(world: Any, things: Sequence[Any], carry: bool) -> Aim:
    """The aim to pick up whichever of the things is nearest; `carry`: so that there is room for it where it will be held."""
    view = View(world)

    def reached(pose: Pose) -> bool:
        reach = 2.7 * world.agent.radius
        if not any(_apart(pose, thing) < reach + thing.radius for thing in things):
            return False
        hand = pose.ahead(1.5 * world.agent.radius)
        found = world.intersect(world.agent, np.array([hand.x, 0.0, hand.y]), 1.2 * world.agent.radius)
        if not any(found is thing for thing in things):
            return False
        return not carry or _fits(world, view, pose, found)

    return Aim(reached, actions.PICK_UP, [(*_flat(thing), 2.7 * world.agent.radius + thing.radius) for thing in things])


def _fits(world: Any, view: View, pose: Pose, thing: Any) -> bool:
    held = pose.ahead(carried_ahead(world, thing))
    if view.plane.wall_clearance(np.array([[held.x, held.y]]))[0] < thing.radius + _NOBODY_STANDS_CLOSER:
        return False
    others = [other for other in world.entities if other is not thing and other is not world.agent]
    return all(_apart(held, other) >= thing.radius + other.radius + _NOBODY_STANDS_CLOSER for other in others)


def put_down_near(world: Any, thing: Any) -> Aim:
    """The aim to put what is carried down near a thing."""
    carried = world.agent.carrying
    ahead, limit = carried_ahead(world, carried), near_distance(world, carried, thing)
    return Aim(lambda pose: _apart(pose.ahead(ahead), thing) < limit - _SAME, actions.DROP, [(*_flat(thing), ahead + limit)])


def bring_together(world: Any, first: Any, second: Any) -> Aim | int:
    """Pick up one of two things and put it near the other."""
    carried = world.agent.carrying
    if carried is None:
        return take(world, [first, second], carry=True)
    if carried is first or carried is second:
        return put_down_near(world, second if carried is first else first)
    return actions.DROP


def _red_box(world: Any) -> Aim:
    return stand_near(world, world.box)


def _pavement(world: Any) -> Aim:
    street = world.street
    return stand_near(world, world.box, forbidden=(street.min_x, street.max_x, street.min_z, street.max_z))


def _sign(world: Any) -> Aim:
    wanted = world._objects[world._goal][world._color_index]
    others = [thing for kind in world._objects for thing in kind if thing is not wanted]
    return stand_near(world, wanted, shunned=[(*_flat(thing), near_distance(world, thing, world.agent)) for thing in others])


def _visit_all(world: Any) -> Aim:
    aims = [stand_near(world, thing) for thing in world.to_visit]
    return Aim(lambda pose: any(aim.reached(pose) for aim in aims), None, [place for aim in aims for place in aim.places])


def _take_all(world: Any) -> Aim:
    return take(world, [thing for thing in world.entities if thing is not world.agent], carry=False)


def _keep_healthy(world: Any) -> Aim:
    """Of the medkits within reach the three that are close and have others close to them, since the nearest one of all may lie where the
    next is further than health lasts; and three, since one in a corner cannot always be picked up."""
    pose = pose_of(world)
    kits = [thing for thing in world.entities if thing is not world.agent]

    def moves(kit: Any) -> float:
        x, z = _flat(kit)
        turn = abs(math.remainder(math.atan2(pose.y - z, x - pose.x) - pose.angle, 2 * math.pi))
        return _apart(pose, kit) / world.max_forward_step + turn / math.radians(15)

    def onward(kit: Any) -> float:
        return min(_apart(Pose(*_flat(kit), 0.0), other) for other in kits if other is not kit) / world.max_forward_step

    in_time = [kit for kit in kits if moves(kit) < 0.8 * world.health / 2] or [min(kits, key=moves)]
    return take(world, sorted(in_time, key=lambda kit: moves(kit) + onward(kit))[:3], carry=False)


ERRANDS: dict[str, Errand] = {
    "red box": _red_box,
    "pavement": _pavement,
    "sign": _sign,
    "visit all": _visit_all,
    "take all": _take_all,
    "keep healthy": _keep_healthy,
    "put next": lambda world: bring_together(world, world.red_box, world.yellow_box),
}


class Walker:
    """Does an errand, step by step; plans anew whenever the world is not as its plan has it."""

    def __init__(self, errand: Errand):
        self._errand = errand

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._world: Any = env.unwrapped
        self._plan: list[tuple[Pose, Any, int]] = []  # where it will stand, with what around, and do what
        self._view: View | None = None
        self._left: tuple[Any, list[float]] = (None, [])

    def act(self, observation: Any) -> int:
        around, pose = self._around(), pose_of(self._world)
        if not self._plan or not self._is(pose, around):
            self._plan = list(self._steps(pose, around))
        return self._plan.pop(0)[2]

    def _around(self) -> Any:
        """What a plan takes as given: things and where they are, but for the one that moves along."""
        world = self._world
        carried = world.agent.carrying
        return id(carried) if carried else None, [(id(t), *_flat(t)) for t in world.entities if t is not world.agent and t is not carried]

    def _is(self, pose: Pose, around: Any) -> bool:
        planned, then, _ = self._plan[0]
        turn = math.remainder(pose.angle - planned.angle, 2 * math.pi)
        return math.hypot(pose.x - planned.x, pose.y - planned.y) < _SAME and abs(turn) < _SAME and then == around

    def _steps(self, pose: Pose, around: Any) -> Iterator[tuple[Pose, Any, int]]:
        world = self._world
        aim = self._errand(world)
        if isinstance(aim, int):
            yield pose, around, aim
            return
        gait = Gait(math.radians(float(world.params.sample(None, "turn_step"))), float(world.params.sample(None, "forward_step")), 0.0)
        gait = Gait(gait.turn, gait.step, min(gait.step / 2, 0.1))
        moves = None if aim is None else self._search(pose, gait, aim)
        if moves is None or aim is None:
            yield pose, around, self._stuck(pose, gait)
            return
        for move in moves:
            yield pose, around, _MOVES.get(move, actions.TURN_RIGHT)
            pose = pose.ahead(gait.step) if move == FORWARD else pose.turned(gait.turn if move == LEFT else -gait.turn)
        if not moves or aim.action is not None:
            yield pose, around, actions.FORWARD if aim.action is None else aim.action

    def _search(self, pose: Pose, gait: Gait, aim: Aim) -> list[str] | None:
        view = self._view = View(self._world, self._view)

        def allowed(other: Pose, move: str) -> bool:
            if move == FORWARD:
                if any(math.hypot(other.x - x, other.y - z) <= far for x, z, far in aim.shunned):
                    return False
                if aim.forbidden is not None and _inside(aim.forbidden, other.x, other.y):
                    return False
            return view.allowed(other, move)

        return moves_to(pose, gait, aim.reached, allowed, self._estimate(view, aim))

    def _estimate(self, view: View, aim: Aim) -> Callable[[float, float], float]:
        """The way left from a place: as the crow flies in a single room, else over the grid around walls and things."""
        if len(self._world.rooms) == 1:
            return lambda x, z: max(0.0, min(math.hypot(x - a, z - b) - far for a, b, far in aim.places))
        key = (tuple(aim.places), view.around)
        if self._left[0] != key:
            self._left = (key, self._distances(view, aim))
        grid, left = view.grid, self._left[1]
        return lambda x, z: left[grid.index(x, z)]

    def _distances(self, view: View, aim: Aim) -> list[float]:
        centres = view.grid.centres()
        margin = _CELL / 2  # a cell whose centre is a little too close to a wall has places that are not
        free = view.plane.clearance(centres) > self._world.agent.radius - margin
        if aim.forbidden is not None:
            free &= ~_inside(aim.forbidden, centres[:, 0], centres[:, 1])
        goals = np.zeros(len(centres), bool)
        for x, z, far in aim.places:
            goals |= np.hypot(centres[:, 0] - x, centres[:, 1] - z) < far + margin
        return view.grid.distances(free, goals).tolist()

    def _stuck(self, pose: Pose, gait: Gait) -> int:
        """Where no way was found: put down what is in the way of going on, or look elsewhere."""
        if self._world.agent.carrying is not None:
            return actions.DROP
        return actions.FORWARD if View(self._world).allowed(pose.ahead(gait.step), FORWARD) else actions.TURN_LEFT


def expert(errand: Errand) -> Callable[[], Walker]:
    """A maker of walkers on this errand, which can be pickled where the errand can."""
    return partial(Walker, errand)
