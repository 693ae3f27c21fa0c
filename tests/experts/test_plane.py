"""Seen from above: distances against brute force, ways against relaxation, plans against the moves they are made of."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.experts.plane import Grid, Plane
from opengato.experts.turn_and_walk import FORWARD, LEFT, Gait, Pose, moves_to


@pytest.mark.parametrize("seed", range(20))
def test_clearance_is_that_of_the_nearest_point_of_a_wall(seed):
    rng = np.random.default_rng(seed)
    walls, points = rng.uniform(-5, 5, (rng.integers(1, 5), 2, 2)), rng.uniform(-5, 5, (20, 2))
    along = np.linspace(0, 1, 2001)[:, None, None]
    dotted = (walls[:, 0] * (1 - along) + walls[:, 1] * along).reshape(-1, 2)
    brute = np.sqrt(((points[:, None] - dotted) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(Plane(walls, np.zeros((0, 3))).wall_clearance(points), brute, atol=0.01)


def test_a_thing_is_in_the_way_as_far_as_its_edge():
    plane = Plane(np.zeros((0, 2, 2)), np.array([[1.0, 0.0, 0.25]]))
    np.testing.assert_allclose(plane.clearance([[0, 0], [1, 0], [1, 2]]), [0.75, -0.25, 1.75])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=30, max_size=30), st.integers(0, 29))
def test_distances_are_those_of_relaxation(free, goal):
    """Bellman-Ford over the same moves."""
    grid = Grid(np.zeros(2), np.array([4.0, 5.0]), 1.0)
    assert grid.shape == (5, 6)
    free, goals = np.array(free), np.arange(30) == goal
    best = np.where(goals & free, 0.0, np.inf).reshape(5, 6)
    passable = free.reshape(5, 6)
    for _ in range(30):
        for r, c in np.ndindex(5, 6):
            for dr, dc in [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]:
                a, b = r + dr, c + dc
                if not (0 <= a < 5 and 0 <= b < 6) or not (passable[r, c] and passable[a, b] and passable[a, c] and passable[r, b]):
                    continue
                best[r, c] = min(best[r, c], best[a, b] + math.hypot(dr, dc))
    np.testing.assert_allclose(grid.distances(free, goals), best.ravel())
    assert all(grid.index(*centre) == i for i, centre in enumerate(grid.centres()))


@pytest.mark.parametrize("angle", [0.0, 1.0, 3.0])
def test_a_plan_walked_arrives_and_goes_around_the_wall(angle):
    wall = Plane(np.array([[[2.0, -3.0], [2.0, 3.0]]]), np.zeros((0, 3)))
    gait = Gait(math.radians(15), 0.15, 0.075)

    def free(pose, move):
        return move != FORWARD or wall.wall_clearance(np.array([[pose.x, pose.y]]))[0] >= 0.4

    def reached(pose):
        return math.hypot(pose.x - 4, pose.y) < 0.5

    grid = Grid(np.array([-1.0, -4.5]), np.array([5.0, 4.5]), 0.25)
    goals = np.hypot(*(grid.centres() - [4, 0]).T) < 0.5
    left = grid.distances(wall.clearance(grid.centres()) > 0.3, goals)
    pose = Pose(0.0, 0.0, angle)
    moves = moves_to(pose, gait, reached, free, lambda x, y: left[grid.index(x, y)])
    assert moves is not None
    for move in moves:
        pose = pose.ahead(gait.step) if move == FORWARD else pose.turned(gait.turn if move == LEFT else -gait.turn)
        assert free(pose, move)
    assert reached(pose)
    length = gait.step * moves.count(FORWARD)
    assert 6.9 - 0.5 < length < 1.3 * (2 * math.hypot(2, 3.4))  # there is no shorter way around, and little longer is found


def test_where_no_way_leads_there_is_no_plan():
    def inside(pose, _):
        return abs(pose.x) < 1 and abs(pose.y) < 1

    assert moves_to(Pose(0, 0, 0), Gait(math.radians(45), 0.5, 0.1), lambda pose: pose.x > 3, inside, lambda x, y: 3 - x) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=30, max_size=30), st.integers(0, 29), st.integers(0, 29))
def test_a_way_is_as_long_as_the_distance(free, start, goal):
    grid = Grid(np.zeros(2), np.array([4.0, 5.0]), 1.0)
    free, goals = np.array(free), np.arange(30) == goal
    free[start] = True
    left, path = grid.distances(free, goals)[start], grid.way(free, start, goals)
    if path is None:
        assert left == math.inf
        return
    steps = np.diff(grid.centres()[path], axis=0)
    assert path[0] == start and path[-1] == goal and free[path].all()
    assert np.hypot(*steps.T).sum() == pytest.approx(left)


@pytest.mark.parametrize("seed", range(20))
def test_clearance_on_a_grid_is_clearance_as_far_as_it_reaches(seed):
    plane = Plane(np.random.default_rng(seed).uniform(-5, 5, (3, 2, 2)), np.zeros((0, 3)))
    grid = Grid(np.array([-4.0, -3.0]), np.array([3.0, 4.0]), 0.7)
    np.testing.assert_allclose(plane.clearance_on(grid, 1.5), np.minimum(plane.wall_clearance(grid.centres()), 1.5), atol=1e-9)
