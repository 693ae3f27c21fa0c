"""MiniHack: seeds, what is seen, and an explorer that finds the stairs."""

from collections import deque

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task, match_tasks
from opengato.domains.starts import start_of

pytest.importorskip("minihack")


def played(name, seeds, actions=12):
    """What is seen in short random episodes of one environment."""
    env, seen = get_task(name).make(), {}
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        rng, frames = np.random.default_rng(seed), []
        for _ in range(actions):
            frames.append((observation["cells"].tobytes(), observation["message"], env.get_wrapper_attr("seen")["glyphs"].tobytes()))
            observation, _, terminated, truncated, _ = env.step(rng.integers(env.action_space.n))
            if terminated or truncated:
                break
        seen[seed] = frames
    env.close()
    return seen


@pytest.mark.parametrize("name", ["room-monster-15x15", "multi-room-n4-extreme", "maze-walk-15x15", "corridor-r3"])
def test_an_episode_is_its_seeds_and_nothing_elses(name):
    name = f"minihack/{name}"
    one, other = played(name, [0, 1, 2, 0]), played(name, [2, 1, 0])
    assert one == other and len({frames[-1] for frames in one.values()}) == 3


@pytest.mark.parametrize("task", [t.id for t in match_tasks(["minihack"])][::4])
def test_spaces_and_starts(task):
    task = get_task(task)
    env = task.make()
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    env.action_space.seed(0)
    observation, _ = env.reset(seed=3)
    start = start_of(task, env, observation)
    assert observation in task.observation_space and env.render().std() > 5
    for _ in range(40):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in task.observation_space
        if terminated or truncated:
            break
    again, _ = env.reset(seed=3)
    assert start_of(task, env, again) == start
    other, _ = env.reset(seed=4)
    assert start_of(task, env, other) != start


@pytest.mark.parametrize("name", ["room-ultimate-5x5", "corridor-r2", "maze-walk-9x9", "multi-room-n2-lava", "multi-room-n2-locked"])
def test_the_explorer_reaches_the_stairs(name):
    task = get_task(f"minihack/{name}")
    env, expert = task.make(), task.make_expert()
    episodes = [record_episode(task, env, expert, seed)[0] for seed in range(5)]
    assert sum(bool(episode.success) for episode in episodes) >= 4
    assert max(episode.rewards.sum() for episode in episodes) > 0.9


def test_where_the_map_is_known_its_way_is_the_shortest():
    """Against a search of its own over the characters that are drawn."""
    task = get_task("minihack/maze-walk-mapped-15x15")
    env, expert = task.make(), task.make_expert()
    for seed in range(4):
        env.reset(seed=seed)
        rows = [bytes(row).decode() for row in env.get_wrapper_attr("seen")["chars"]]
        free = {(i, j) for i, row in enumerate(rows) for j, c in enumerate(row) if c in ".#@<>"}
        (start,) = [(i, j) for i, row in enumerate(rows) for j, c in enumerate(row) if c == "@"]
        far, queue = {start: 0}, deque([start])
        while queue:
            i, j = queue.popleft()
            for cell in [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if cell in free and cell not in far:
                    far[cell] = far[i, j] + 1
                    queue.append(cell)
        (goal,) = [(i, j) for i, row in enumerate(rows) for j, c in enumerate(row) if c == ">"]
        episode, _ = record_episode(task, env, expert, seed)
        assert episode.success and len(episode.rewards) == far[goal]


def test_only_what_is_seen_whole_needs_no_past():
    needs = {task.id.split("/")[1] for task in match_tasks(["minihack"]) if task.needs_past}
    assert {"multi-room-n4", "maze-walk-9x9", "corridor-r2", "room-dark-15x15"} <= needs and "room-random-15x15" not in needs


def test_a_random_walk_is_no_explorer():
    task = get_task("minihack/maze-walk-9x9")
    env, lost = task.make(), 0
    for seed in range(6):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(15):
            *_, terminated, truncated, info = env.step(rng.integers(8))
            if terminated or truncated:
                break
        lost += not info["success"]
    assert lost >= 4
