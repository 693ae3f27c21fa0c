"""A walker's world from above: walls as segments, things as discs; where a disc fits, and how far it is from there to a goal."""

from __future__ import annotations

import heapq
import math

import numpy as np

_DIAGONAL = math.sqrt(2.0)


class Plane:
    """Walls and things of a world, from above.

    Args:
        walls: (N, 2, 2), the two ends of every wall.
        discs: (M, 3), centre and radius of every thing that is in the way.
    """

    def __init__(self, walls: np.ndarray, discs: np.ndarray):
        walls = np.asarray(walls, np.float64).reshape(-1, 2, 2)
        self._begin, self._along = walls[:, 0], walls[:, 1] - walls[:, 0]
        self._squared = np.maximum((self._along**2).sum(-1), 1e-12)
        self.discs = np.asarray(discs, np.float64).reshape(-1, 3)

    def wall_clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance (P,) from points (P, 2) to the nearest wall; infinity where there is none."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        if not len(self._begin):
            return np.full(len(points), np.inf)
        nearest = np.full(len(points), np.inf)
        for first in range(0, len(points), 2048):  # all pairs at once would be gigabytes in a large maze
            some = points[first : first + 2048]
            away = some[:, None] - self._begin
            share = np.clip((away * self._along).sum(-1) / self._squared, 0.0, 1.0)
            gap = away - share[..., None] * self._along
            nearest[first : first + 2048] = np.sqrt((gap**2).sum(-1).min(1))
        return nearest

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance (P,) from points (P, 2) to the nearest wall or edge of a thing, negative inside of one."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        nearest = self.wall_clearance(points)
        if len(self.discs):
            gaps = np.sqrt(((points[:, None] - self.discs[:, :2]) ** 2).sum(-1)) - self.discs[:, 2]
            nearest = np.minimum(nearest, gaps.min(1))
        return nearest

    def clearance_on(self, grid: Grid, reach: float) -> np.ndarray:
        """`wall_clearance` of all cells, as far as `reach`: where walls are further it is that. Quicker than that where walls are many."""
        nearest = np.full(grid.shape, reach)
        for begin, along in zip(self._begin, self._along):
            ends = np.stack([begin, begin + along])
            low = np.maximum(np.floor((ends.min(0) - reach - grid.low) / grid.cell).astype(int), 0)
            high = np.ceil((ends.max(0) + reach - grid.low) / grid.cell).astype(int) + 1
            rows, columns = (np.arange(low[i], min(high[i], grid.shape[i])) for i in range(2))
            if not len(rows) or not len(columns):
                continue
            x, y = rows[:, None] * grid.cell + grid.low[0] - begin[0], columns * grid.cell + grid.low[1] - begin[1]
            share = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-12), 0.0, 1.0)
            part = nearest[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.minimum(part, np.hypot(x - share * along[0], y - share * along[1]), out=part)
        return nearest.ravel()


class Grid:
    """Square cells over a rectangle.

    Args:
        low, high: its corners (2,). cell: length of a side.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, cell: float):
        self.low, self.cell = np.asarray(low, np.float64), cell
        self.shape = tuple(int(n) for n in np.ceil((np.asarray(high) - self.low) / cell).astype(int) + 1)

    def centres(self) -> np.ndarray:
        """(cells, 2) of all cells, row-major."""
        rows, columns = np.indices(self.shape)
        return np.stack([rows, columns], -1).reshape(-1, 2) * self.cell + self.low

    def index(self, x: float, y: float) -> int:
        """The flat number of the cell whose centre is nearest."""
        row = min(max(round((x - self.low[0]) / self.cell), 0), self.shape[0] - 1)
        column = min(max(round((y - self.low[1]) / self.cell), 0), self.shape[1] - 1)
        return row * self.shape[1] + column

    def distances(self, free: np.ndarray, goals: np.ndarray, cost: np.ndarray | None = None) -> np.ndarray:
        """How far it is from each cell to the nearest goal over free cells: straight and diagonal steps, no corner cut.

        Args:
            free, goals: bool (cells,). cost: (cells,), what a unit of length costs there; None: 1.

        Returns:
            (cells,) in units of length; infinity where no way leads.
        """
        rows, columns = self.shape
        width = columns + 2  # a border that nobody may enter keeps the loop free of bounds
        passable = np.zeros((rows + 2, width), bool)
        passable[1:-1, 1:-1] = free.reshape(self.shape)
        weight = np.ones((rows + 2, width))
        if cost is not None:
            weight[1:-1, 1:-1] = cost.reshape(self.shape)
        wanted = np.zeros_like(passable)
        wanted[1:-1, 1:-1] = goals.reshape(self.shape) & passable[1:-1, 1:-1]
        open_, price = passable.ravel().tolist(), (weight.ravel() * self.cell).tolist()
        best = [math.inf] * len(open_)
        queue: list[tuple[float, int]] = []
        for cell in np.flatnonzero(wanted.ravel()).tolist():
            best[cell] = 0.0
            queue.append((0.0, cell))
        straight = (-width, width, -1, 1)
        while queue:
            far, cell = heapq.heappop(queue)
            if far > best[cell]:
                continue
            step = price[cell]
            for move in straight:
                other = cell + move
                if open_[other] and far + step < best[other]:
                    best[other] = far + step
                    heapq.heappush(queue, (far + step, other))
            for across in (-width, width):
                for along in (-1, 1):
                    other = cell + across + along
                    longer = far + step * _DIAGONAL
                    if open_[other] and open_[cell + across] and open_[cell + along] and longer < best[other]:
                        best[other] = longer
                        heapq.heappush(queue, (longer, other))
        return np.array(best).reshape(rows + 2, width)[1:-1, 1:-1].ravel()

    def way(self, free: np.ndarray, start: int, goals: np.ndarray) -> list[int] | None:
        """The cells of the shortest way from a cell, which need not be free, to the nearest goal; None where no way leads.

        Looks only as far as that goal is: for goals that are close and change.
        """
        rows, columns = self.shape
        best, came, queue = {start: 0.0}, {start: start}, [(0.0, start)]
        while queue:
            far, cell = heapq.heappop(queue)
            if far > best[cell]:
                continue
            if goals[cell]:
                path = [cell]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return path[::-1]
            row, column = divmod(cell, columns)
            inside = bool(free[cell])  # else the walker stands where it should not, and leaves it any way it can
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if not (0 <= row + down < rows and 0 <= column + right < columns):
                        continue
                    other = cell + down * columns + right
                    if not free[other] or (inside and not (free[cell + down * columns] and free[cell + right])):
                        continue
                    longer = far + self.cell * (_DIAGONAL if down and right else 1.0)
                    if longer < best.get(other, math.inf):
                        best[other], came[other] = longer, cell
                        heapq.heappush(queue, (longer, other))
        return None
