"""A planner for MiniGrid's worlds: the next action towards a place, a thing in hand or an open door, through whatever is in the way.

It looks at the world as it is at every step and remembers nothing. A route is the cheapest one over cells and directions, on which a door
without its key, or a thing that must be carried off, counts as what it takes to deal with it. What comes first on the route is dealt with
first: the key is fetched, out of a box if need be, or hands are freed and the thing is picked up.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from opengato.errors import OpenGatoError

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
Cell = tuple[int, int]
Pose = tuple[Cell, int]  # and the direction, 0 to 3: right, down, left, up
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_RING = ((-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0))
_THINGS = ("key", "ball", "box")
_CLEAR, _UNLOCK = 30, 60  # about as many steps as it takes to carry a thing off, and to fetch a key


def beside(cell: Cell) -> list[Cell]:
    """The four cells next to this one."""
    return [(cell[0] + x, cell[1] + y) for x, y in STEPS]


def ahead(pose: Pose) -> Cell:
    """The cell in front."""
    (x, y), direction = pose
    return x + STEPS[direction][0], y + STEPS[direction][1]


class GridPlanner:
    """Args: world: a MiniGrid environment, unwrapped. movable: whether things in the way may be picked up."""

    def __init__(self, world: Any, movable: bool = True):
        self.world, self.movable = world, movable

    # ---- what to ask for; each answers with the next action, and raises OpenGatoError where there is no way ----------------------

    def stand(self, cells: Iterable[Cell]) -> int | None:
        """Towards standing on one of the cells; None when there."""
        goals = set(cells)
        route = self._route(lambda pose: pose[0] in goals, frozenset())
        return self._along(self._must(route, "to where it should stand"), frozenset())

    def hold(self, things: Iterable[Any], sealed: frozenset[Cell] = frozenset()) -> int | None:
        """Towards carrying one of the things of the world; None when it is carried. `sealed`: doors not to go through."""
        wanted = list(things)
        if any(self.world.carrying is thing for thing in wanted):
            return None
        goals = {cell for cell, thing in self.things() if any(thing is one for one in wanted)}
        route = self._must(self._route(lambda pose: ahead(pose) in goals, sealed), "to what it should pick up")
        if self.world.carrying is not None and not any(self._locked(cell) for cell, _ in route):
            return self._put_away(route)
        action = self._along(route, sealed)
        return PICKUP if action is None else action

    def face(self, cells: Iterable[Cell], sealed: frozenset[Cell] = frozenset()) -> int | None:
        """Towards having one of the cells in front; None when it is."""
        goals = set(cells)
        route = self._route(lambda pose: ahead(pose) in goals, sealed)
        return self._along(self._must(route, "to what it should face"), sealed)

    def open(self, cells: Iterable[Cell]) -> int:
        """Towards opening one of the closed doors."""
        goals = set(cells)
        route = self._must(self._route(lambda pose: ahead(pose) in goals, frozenset()), "to the door")
        door = ahead(route[-1])
        # A door without its key: what stands before it is cleared first, since that takes both hands.
        blocked = any(self._in_the_way(cell) for cell, _ in route[1:])
        if not blocked and self._locked(door) and not self._has_key(door):
            return self._fetch_key(door, frozenset())
        action = self._along(route, frozenset())
        return TOGGLE if action is None else action

    def put(self, cells: Iterable[Cell]) -> int:
        """Towards dropping what is carried on one of the cells that are empty."""
        goals = {cell for cell in cells if self._at(cell) is None and cell != self._here}
        action = self.face(goals)
        return DROP if action is None else action

    def things(self) -> list[tuple[Cell, Any]]:
        """Everything in the world but walls, with its cell."""
        grid = self.world.grid
        found = (((x, y), grid.get(x, y)) for y in range(grid.height) for x in range(grid.width))
        return [(cell, thing) for cell, thing in found if thing is not None and thing.type != "wall"]

    # ---- routes ------------------------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Cell:
        x, y = self.world.agent_pos
        return int(x), int(y)

    def _at(self, cell: Cell) -> Any:
        """What is in a cell: None where it is empty, "outside" beyond the world."""
        grid = self.world.grid
        return grid.get(*cell) if 0 <= cell[0] < grid.width and 0 <= cell[1] < grid.height else "outside"

    def _locked(self, cell: Cell) -> bool:
        return bool(getattr(self._at(cell), "is_locked", False))

    def _in_the_way(self, cell: Cell) -> bool:
        return getattr(self._at(cell), "type", None) in _THINGS

    def _has_key(self, door: Cell) -> bool:
        carried = self.world.carrying
        return carried is not None and carried.type == "key" and carried.color == self._at(door).color

    def _keys(self, door: Cell) -> tuple[list[Any], list[Cell]]:
        """The keys of a door that lie about, and the cells of boxes that have one."""
        color, carried = self._at(door).color, self.world.carrying

        def fits(thing: Any) -> bool:
            return thing is not None and thing.type == "key" and thing.color == color

        found = self.things()
        boxes = [cell for cell, thing in found if fits(getattr(thing, "contains", None))]
        # A box in hand is opened where it is put down.
        return [thing for _, thing in found if fits(thing)], [self._here] * fits(getattr(carried, "contains", None)) + boxes

    def _cost(self, cell: Cell, sealed: frozenset[Cell]) -> int | None:
        """Actions, or about as many, to enter a cell from the one before it; None where it cannot be entered."""
        thing = self._at(cell)
        if thing is None:
            return 1
        if thing == "outside" or thing.type in ("wall", "lava") or cell in sealed:
            return None
        if thing.type == "door" and thing.is_locked:
            return 2 if self._has_key(cell) else 1 + _UNLOCK if any(self._keys(cell)) else None
        if thing.type == "door":
            return 1 if thing.is_open else 2
        if thing.type in _THINGS:
            return 1 + _CLEAR if self.movable else None
        return 1 if thing.can_overlap() else None

    def _route(self, arrived: Callable[[Pose], bool], sealed: frozenset[Cell]) -> list[Pose] | None:
        """The cheapest poses from here to one that `arrived`; of equally cheap ones always the same."""
        start = (self._here, int(self.world.agent_dir))
        came: dict[Pose, Pose | None] = {start: None}
        cost = {start: 0}
        costs: dict[Cell, int | None] = {}
        queue = [(0, start)]
        done: set[Pose] = set()
        while queue:
            so_far, pose = heapq.heappop(queue)
            if pose in done:
                continue
            done.add(pose)
            if arrived(pose):
                route: list[Pose] = []
                step: Pose | None = pose
                while step is not None:
                    route.append(step)
                    step = came[step]
                return route[::-1]
            cell, direction = pose
            following = [((cell, (direction - 1) % 4), 1), ((cell, (direction + 1) % 4), 1)]
            onto = ahead(pose)
            if onto not in costs:
                costs[onto] = self._cost(onto, sealed)
            enter = costs[onto]
            if enter is not None:
                following.append(((onto, direction), enter))
            for after, more in following:
                if so_far + more < cost.get(after, 1 << 30):
                    cost[after], came[after] = so_far + more, pose
                    heapq.heappush(queue, (so_far + more, after))
        return None

    @staticmethod
    def _must(route: list[Pose] | None, where: str) -> list[Pose]:
        if route is None:
            raise OpenGatoError(f"the planner finds no way {where}: what it needs is gone or walled in; draw another seed")
        return route

    def _along(self, route: list[Pose], sealed: frozenset[Cell]) -> int | None:
        """The first action of a route, after what must be done before anything on it; None at its end."""
        for cell, _ in route[1:]:
            if cell == self._here:
                continue
            if self._in_the_way(cell):
                if self.world.carrying is not None:
                    return self._put_away(route)
                action = self._along(self._before(route, cell), sealed)
                return PICKUP if action is None else action
            if self._locked(cell) and not self._has_key(cell):
                return self._fetch_key(cell, sealed)
        if len(route) == 1:
            return None
        (cell, direction), (onto, turned) = route[:2]
        if cell == onto:
            return RIGHT if turned == (direction + 1) % 4 else LEFT
        door = self._at(onto)
        return TOGGLE if door is not None and door.type == "door" and not door.is_open else FORWARD

    @staticmethod
    def _before(route: list[Pose], cell: Cell) -> list[Pose]:
        """A route as far as where this cell, which lies on it, is in front."""
        return route[: next(k for k, pose in enumerate(route) if pose[0] == cell)]

    # ---- what is in the way ------------------------------------------------------------------------------------------------------

    def _fetch_key(self, door: Cell, sealed: frozenset[Cell]) -> int:
        keys, boxes = self._keys(door)
        sealed = sealed | {door}
        if keys:
            action = self.hold(keys, sealed)
            assert action is not None
            return action
        if self._here in boxes:
            return self._put_away([(self._here, int(self.world.agent_dir))])
        action = self.face(boxes, sealed)
        return TOGGLE if action is None else action

    def _put_away(self, route: list[Pose]) -> int:
        """Towards dropping what is carried out of the way: not at a door or between two halves of a room, or else off the route.

        Where that is does not hang on the route, which is another one after every turn.
        """
        needed = {cell for cell, _ in route} | {ahead(route[-1])}

        def fits(pose: Pose, harmless: bool) -> bool:
            cell = ahead(pose)
            return self._at(cell) is None and (self._harmless(cell) if harmless else cell not in needed)

        shut = frozenset(cell for cell, thing in self.things() if thing.type in _THINGS or self._locked(cell))
        way = self._route(lambda pose: fits(pose, True), shut) or self._route(lambda pose: fits(pose, False), shut)
        way = self._must(way or self._route(lambda pose: self._at(ahead(pose)) is None, shut), "to an empty cell")
        action = self._along(way, shut)
        return DROP if action is None else action

    def _harmless(self, cell: Cell) -> bool:
        """Whether all that can be reached through a cell can still be reached around it, and no door opens onto it."""
        around = [self._at((cell[0] + x, cell[1] + y)) for x, y in _RING]
        sides = around[1::2]  # the four cells beside it; the others are the corners between them
        if any(getattr(thing, "type", None) == "door" for thing in sides):
            return False
        open_ = [thing is None or getattr(thing, "type", "") in ("floor", "goal") for thing in around]
        ends = [k for k in range(1, 8, 2) if open_[k] or getattr(around[k], "type", "") in _THINGS]
        if not ends or not any(open_[k] for k in ends):
            return False
        first = next(k for k in ends if open_[k])
        reached, frontier = {first}, [first]
        while frontier:
            k = frontier.pop()
            for neighbour in ((k - 1) % 8, (k + 1) % 8):
                if neighbour not in reached and open_[neighbour]:
                    reached.add(neighbour)
                    frontier.append(neighbour)
        return all(k in reached or (k - 1) % 8 in reached or (k + 1) % 8 in reached for k in ends)
