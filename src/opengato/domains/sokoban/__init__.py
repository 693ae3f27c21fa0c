"""Sokoban: boxes pushed onto targets, levels drawn by the seed or read from Boxoban's files, solved by A* over pushes.

An observation is the whole board, a number a cell: 0 wall, 1 floor, 2 target, 3 box, 4 box on a target, 5 player, 6 player on a target. An
action is 0 to 3: up, down, left, right; who walks into a box pushes it, where the cell behind it is free, and else stays. A step costs 0.1,
a box pushed onto a target earns 1, one pushed off it loses 1, and the last one earns 10 more and ends the episode, as is usual (Racanière
et al. 2017), after `limit` steps at most.

`sokoban/levels:FOLDER` is the task of the levels in a folder of text files, for example of Boxoban's `medium/train`; the seed draws one.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.sokoban.levels import (
    BOX,
    BOX_ON_TARGET,
    FLOOR,
    PLAYER,
    PLAYER_ON_TARGET,
    SYMBOLS,
    TARGET,
    WALL,
    LevelConfig,
    draw_level,
    read_levels,
)
from opengato.domains.task import Task
from opengato.errors import OpenGatoError
from opengato.experts.sokoban import Board, Push, mask_of, most_on_targets, solve

ACTION_SPACE = spaces.Discrete(4)
_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

# Task name -> the levels that its seeds draw, and the most steps of an episode.
SIZES = {
    "boxes-1-7x7": (LevelConfig(7, 1, 4), 60),
    "boxes-2-7x7": (LevelConfig(7, 2, 6), 80),
    "boxes-2-8x8": (LevelConfig(8, 2, 8), 80),
    "boxes-3-8x8": (LevelConfig(8, 3, 10), 120),
    "boxes-3": (LevelConfig(10, 3, 12), 120),
    "boxes-4": (LevelConfig(10, 4, 16), 160),
}
_LEVELS = "sokoban/levels:"
_FILE_LIMIT = 200

# The tiles of a picture, RGB by symbol.
_COLOURS = np.array(
    [(70, 60, 60), (225, 215, 195), (230, 120, 110), (160, 105, 50), (90, 150, 60), (50, 90, 200), (120, 70, 200)], np.uint8
)
_TILE = 16


def board_space(height: int, width: int) -> spaces.MultiDiscrete:
    """The observations of boards of this size."""
    return spaces.MultiDiscrete(np.full((height, width), SYMBOLS))


class Sokoban(gym.Env):
    """One level after the other; `info["success"]` is true once all boxes are on targets.

    Args:
        levels: what is drawn; or the levels of a file, int64 (N, H, W), one of which the seed draws.
        limit: steps after which an episode is truncated.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, levels: LevelConfig | np.ndarray, limit: int):
        self._levels, self._limit = levels, limit
        height, width = (levels.size, levels.size) if isinstance(levels, LevelConfig) else levels.shape[1:]
        self.observation_space, self.action_space = board_space(height, width), ACTION_SPACE

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """options: {"level": int64 (H, W)} begins with this level in place of one that the seed draws."""
        super().reset(seed=seed)
        if options and "level" in options:
            self.board = np.array(options["level"], np.int64)
        elif isinstance(self._levels, LevelConfig):
            self.board = draw_level(self._levels, self.np_random)
        else:
            self.board = self._levels[self.np_random.integers(len(self._levels))].copy()
        self.steps = 0
        return self.board.copy(), {"success": False}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        board = self.board
        row, column = np.argwhere(board >= PLAYER)[0]
        down, right = _MOVES[int(action)]
        ahead, behind = (row + down, column + right), (row + 2 * down, column + 2 * right)
        reward = -0.1
        if board[ahead] in (BOX, BOX_ON_TARGET) and board[behind] in (FLOOR, TARGET):
            reward += float(board[behind] == TARGET) - float(board[ahead] == BOX_ON_TARGET)
            board[behind] = BOX_ON_TARGET if board[behind] == TARGET else BOX
            board[ahead] = TARGET if board[ahead] == BOX_ON_TARGET else FLOOR
        if board[ahead] in (FLOOR, TARGET):
            board[row, column] = TARGET if board[row, column] == PLAYER_ON_TARGET else FLOOR
            board[ahead] = PLAYER_ON_TARGET if board[ahead] == TARGET else PLAYER
        self.steps += 1
        solved = not (board == BOX).any()
        if solved:
            reward += 10.0
        return board.copy(), reward, solved, not solved and self.steps >= self._limit, {"success": solved}

    def render(self) -> np.ndarray:
        """uint8 (16·H, 16·W, 3): a tile a cell; boxes and the player are smaller than their tile."""
        ground = np.where(np.isin(self.board, (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET)), TARGET, np.minimum(self.board, FLOOR))
        picture = _COLOURS[ground].repeat(_TILE, 0).repeat(_TILE, 1)
        for row, column in np.argwhere(self.board >= BOX):
            top, left = row * _TILE + 3, column * _TILE + 3
            picture[top : top + _TILE - 6, left : left + _TILE - 6] = _COLOURS[self.board[row, column]]
        return picture


class Pusher:
    """Plays the fewest pushes to the solved board from wherever it is, with the shortest walks between them.

    On a board that cannot be solved any more, or for which none of the first `MOST_STATES` states of the search was a solution, it brings
    as many boxes onto targets as it can, and then goes where nothing is pushed.
    """

    MOST_STATES = 20_000  # levels of the generator need some hundreds; so many take about two seconds
    MOST_DEAD = 2_000

    def reset(self, env: gym.Env, observation: np.ndarray, seed: int) -> None:
        walls = observation == WALL
        targets = np.isin(observation, (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET))
        self._board = Board(mask_of(~walls), mask_of(targets), observation.shape[1])
        self._plan: list[Push] = []  # what is still to be pushed on a board whose boxes are `_expected`
        self._expected = -1

    def act(self, observation: np.ndarray) -> int:
        board = self._board
        boxes = mask_of((observation == BOX) | (observation == BOX_ON_TARGET))
        player = int(np.flatnonzero(observation.ravel() >= PLAYER)[0])
        region = board.region(boxes, player)
        if boxes != self._expected or not self._plan or not region >> self._stand() & 1:
            found = solve(board, boxes, player, self.MOST_STATES)
            self._plan = most_on_targets(board, boxes, player, self.MOST_DEAD) if found is None else found
            self._expected = boxes
        if not self._plan:
            return self._aside(boxes, player)
        box, direction = self._plan[0]
        if player != self._stand():
            return board.walk(boxes, player, self._stand())[0]
        self._plan = self._plan[1:]
        self._expected = boxes ^ (1 << box) ^ (1 << box + board.steps[direction])
        return direction

    def _stand(self) -> int:
        """Where to stand for the next push."""
        box, direction = self._plan[0]
        return box - self._board.steps[direction]

    def _aside(self, boxes: int, player: int) -> int:
        """A move that pushes nothing, the first there is; against a wall, where there is one."""
        ahead = [player + step for step in self._board.steps]
        for direction, cell in enumerate(ahead):
            if not self._board.floor >> cell & 1:
                return direction
        return next((direction for direction, cell in enumerate(ahead) if not boxes >> cell & 1), 0)


def _task(name: str, space: spaces.Space, make_env: Any, few_starts: bool) -> Task:
    return Task(
        id=name,
        observation_space=space,
        action_space=ACTION_SPACE,
        make_env=make_env,
        make_expert=Pusher,
        requires="gymnasium",
        extra="",
        expert_name="A* over pushes",
        has_success=True,
        burst=2,
        few_starts=few_starts,
    )


TASKS = [
    _task(f"sokoban/{name}", board_space(levels.size, levels.size), partial(Sokoban, levels, limit), few_starts=levels.boxes == 1)
    for name, (levels, limit) in SIZES.items()
]


@cache
def _levels_of(folder: str) -> np.ndarray:
    return read_levels(Path(folder))


def _make_of_files(folder: str) -> gym.Env:
    return Sokoban(_levels_of(folder), _FILE_LIMIT)


def find_task(task_id: str) -> Task | None:
    """The task of "sokoban/levels:FOLDER", None for other ids. Raises OpenGatoError where the folder has no levels, or broken ones."""
    if not task_id.startswith(_LEVELS):
        return None
    folder = task_id.removeprefix(_LEVELS)
    if not Path(folder).is_dir():
        raise OpenGatoError(f"task {task_id!r} names a folder that is not there: name one with text files as Boxoban has them")
    space = board_space(*_levels_of(folder).shape[1:])
    return _task(task_id, space, partial(_make_of_files, folder), few_starts=True)
