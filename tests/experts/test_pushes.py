"""A* over pushes against a search that knows nothing but the rules."""

from collections import deque

import numpy as np
import pytest

from opengato.domains import make
from opengato.domains.sokoban.levels import BOX, BOX_ON_TARGET, PLAYER, PLAYER_ON_TARGET, TARGET, WALL, LevelConfig, draw_level
from opengato.experts.sokoban import Board, mask_of, most_on_targets, solve


def parts(level):
    """(the board, boxes, player) as the search takes them."""
    board = Board(mask_of(level != WALL), mask_of(np.isin(level, (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET))), level.shape[1])
    return board, mask_of(np.isin(level, (BOX, BOX_ON_TARGET))), int(np.flatnonzero(level.ravel() >= PLAYER)[0])


def fewest_pushes(level):
    """By trying every move from every state, those without a push first: (pushes, None where there is no way; most boxes on targets)."""
    floor = {tuple(c) for c in np.argwhere(level != WALL)}
    targets = {tuple(c) for c in np.argwhere(np.isin(level, (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET)))}
    boxes = frozenset(tuple(c) for c in np.argwhere(np.isin(level, (BOX, BOX_ON_TARGET))))
    start = (tuple(np.argwhere(level >= PLAYER)[0]), boxes)
    queue, done, most = deque([(start, 0)]), set(), 0
    while queue:
        (player, boxes), pushes = queue.popleft()
        if (player, boxes) in done:
            continue
        done.add((player, boxes))
        most = max(most, len(boxes & targets))
        if boxes == targets:
            return pushes, most
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            ahead, behind = ((player[0] + n * down, player[1] + n * right) for n in (1, 2))
            if ahead in boxes and behind in floor and behind not in boxes:
                queue.append(((ahead, boxes - {ahead} | {behind}), pushes + 1))
            elif ahead in floor and ahead not in boxes:
                queue.appendleft(((ahead, boxes), pushes))
    return None, most


@pytest.mark.parametrize("boxes", [1, 2])
def test_it_finds_the_fewest_pushes_and_tells_what_cannot_be_solved(boxes):
    env, rng = make("sokoban/boxes-2-7x7"), np.random.default_rng(boxes)
    unsolvable = 0
    for _ in range(25):
        level, _ = env.reset(options={"level": draw_level(LevelConfig(7, boxes, 4), rng)})
        for _ in range(rng.integers(60)):
            level, _, solved, _, _ = env.step(rng.integers(4))
            if solved:
                break
        expected, most = fewest_pushes(level)
        board, at, player = parts(level)
        found = solve(board, at, player, 100_000)
        assert (None if found is None else len(found)) == expected
        if expected is None:
            unsolvable += 1
            for box, direction in most_on_targets(board, at, player, 100_000):
                at ^= (1 << box) ^ (1 << box + board.steps[direction])
            assert (at & board.targets).bit_count() == most
    assert 2 <= unsolvable < 25


def test_the_lower_bound_is_one():
    """In every state on a shortest way, what is said to be left is no more than what is left."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        board, boxes, player = parts(draw_level(LevelConfig(8, 3, 8), rng))
        plan = solve(board, boxes, player, 100_000)
        for k, (box, direction) in enumerate(plan):
            assert board.least_pushes(boxes) <= len(plan) - k
            assert not board.frozen_off_target(boxes, box)
            boxes ^= (1 << box) ^ (1 << box + board.steps[direction])
        assert boxes == board.targets and board.least_pushes(boxes) == 0


def test_boxes_that_hold_each_other_are_seen_to_be_stuck():
    square = np.pad(np.ones((4, 4), bool), 1)
    cell = lambda row, column: row * 6 + column  # noqa: E731
    board = Board(mask_of(square), 1 << cell(2, 2) | 1 << cell(3, 3), 6)
    pair = 1 << cell(1, 2) | 1 << cell(1, 3)  # side by side at the wall
    assert board.frozen_off_target(pair, cell(1, 2))
    apart = 1 << cell(2, 2) | 1 << cell(3, 3)
    assert not board.frozen_off_target(apart, cell(2, 2))
    corner = Board(mask_of(square), 1 << cell(1, 1) | 1 << cell(3, 3), 6)
    assert not corner.frozen_off_target(1 << cell(1, 1), cell(1, 1))  # stuck, where it belongs
