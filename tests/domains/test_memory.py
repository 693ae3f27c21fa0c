"""The maze that asks for memory: rules, reproducible, and worth a half to whoever forgets."""

import numpy as np
import pytest

from opengato.domains import get_task, make
from opengato.domains.memory import FORWARD, LEFT, RIGHT


def walk(task, seed, choose):
    env = make(task)
    observation, _ = env.reset(seed=seed)
    cue, seen = observation[0], [observation]
    while True:
        observation, reward, terminated, truncated, info = env.step(choose(observation, cue) if observation[1] else FORWARD)
        seen.append(observation)
        if terminated or truncated:
            return reward, info["success"], len(seen) - 1, np.stack(seen)


@pytest.mark.parametrize("task", ["memory/t-maze", "memory/t-maze-short"])
def test_who_remembers_succeeds_and_who_does_not_succeeds_by_chance(task):
    right = [walk(task, seed, lambda _, cue: LEFT if cue < 0 else RIGHT) for seed in range(40)]
    assert all(reward == 1 and success for reward, success, _, _ in right)
    always_left = [walk(task, seed, lambda *_: LEFT)[1] for seed in range(200)]
    assert np.mean(always_left) == pytest.approx(0.5, abs=0.12)
    _, _, _, seen = right[0]
    assert (seen[1:, 0] == 0).all() and abs(seen[0, 0]) == 1  # the cue is seen once
    space = get_task(task).observation_space
    assert all(observation in space for observation in seen)


def test_the_expert_succeeds_and_episodes_are_a_function_of_the_seed():
    task = get_task("memory/t-maze")
    lengths = []
    for seed in (3, 3, 4):
        env, expert = task.make(), task.make_expert()
        observation, _ = env.reset(seed=seed)
        expert.reset(env, observation, seed)
        steps, ended = 0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(expert.act(observation))
            steps, ended = steps + 1, terminated or truncated
        assert reward == 1 and env.render().shape == (24, 8 * 41, 3)
        lengths.append((steps, *observation))
    assert lengths[0] == lengths[1] != lengths[2]


def test_who_turns_in_the_corridor_gets_nowhere():
    env = make("memory/t-maze")
    env.reset(seed=0)
    for _ in range(2 * 40 + 10):
        observation, reward, terminated, truncated, info = env.step(LEFT)
        assert reward == 0 and not terminated and not info["success"] and not observation[1]
    assert truncated
