"""Starts: what is kept for evaluation is the same for everybody, is told apart by the whole state, and is never recorded."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengato.domains import get_task, tasks
from opengato.domains.starts import SEEDS, evaluation_seeds, fingerprint, is_evaluation, is_kept, start_of
from opengato.errors import OpenGatoError


def starts(name, seeds):
    """seed -> the hash of its start."""
    task = get_task(name)
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    return {seed: start_of(task, env, env.reset(seed=seed)[0]) for seed in seeds}


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.text(), st.floats(allow_nan=False, width=32))
def test_equal_states_have_equal_fingerprints_whatever_keeps_them(numbers, words, x):
    state = {"a": np.array(numbers, np.int64), "b": (words, np.float64(x))}
    same = {"b": (words, np.float32(x)), "a": np.array(numbers, np.int32)}
    assert fingerprint(state) == fingerprint(same) < 2**64
    assert fingerprint({**state, "a": np.array([*numbers, 0])}) != fingerprint(state) != fingerprint({**state, "b": (words + "!", x)})


def test_a_start_is_the_whole_state_and_not_what_is_seen_of_it():
    """Two rooms of which the agent, in its corner, sees the same."""
    task = get_task("babyai/go-to-obj")
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    observation, _ = env.reset(seed=0)
    world = env.unwrapped
    before = start_of(task, env, observation)
    unseen = next(
        (x, y)
        for x in range(1, 7)
        for y in range(1, 7)
        if world.grid.get(x, y) is None and not world.in_view(x, y) and (x, y) != world.agent_pos
    )
    from minigrid.core.world_object import Box, Key

    world.put_obj(Box("red"), *unseen)
    boxed = start_of(task, env, observation)
    world.put_obj(Box("red", contains=Key("blue")), *unseen)
    assert len({before, boxed, start_of(task, env, observation)}) == 3


def test_of_few_starts_a_fifth_at_least_is_kept_and_evaluated_once_before_any_comes_twice():
    found = starts("babyai/open-red-door", range(1_000))
    different = set(found.values())
    kept = {start for start in different if is_kept(start)}
    assert 80 < len(different) < 130 and len(different) / 5 <= len(kept) <= len(different) / 2
    seeds = evaluation_seeds(get_task("babyai/open-red-door"), 40)
    order = list(starts("babyai/open-red-door", seeds).values())
    assert len(set(seeds)) == 40 and set(seeds) <= set(SEEDS) and all(map(is_kept, order))
    assert len(set(order[: len(kept)])) >= len(kept) - 2  # as good as all of them, before one is met again
    assert evaluation_seeds(get_task("babyai/open-red-door"), 10) == seeds[:10]


@pytest.mark.parametrize("name", ["metaworld/reach", "dm-control/reacher-easy", "memory/t-maze", "babyai/go-to-local"])
def test_where_starts_are_many_the_seeds_are_kept(name):
    task = get_task(name)
    assert evaluation_seeds(task, 30) == list(range(100_000, 100_030))
    found = starts(name, [*range(20), *range(100_000, 100_020)])
    assert len(set(found.values())) == 40 and found == starts(name, found)


@pytest.mark.parametrize("name", ["atari/freeway", "babyai/go-to-obj-s4"])
def test_no_seed_begins_at_a_start_of_evaluation_without_being_found_out(name):
    task = get_task(name)
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    evaluated = set(starts(name, evaluation_seeds(task, 5)).values())
    found = starts(name, range(40))
    passed = {seed for seed in found if is_evaluation(task, env, seed)}
    assert 3 < len(passed) < 40 and not evaluated & {found[seed] for seed in found if seed not in passed}


def test_games_begin_in_many_ways():
    found = starts("atari/freeway", range(40))
    assert len(set(found.values())) > 32  # by no-ops alone at most 30


def test_sticky_actions_are_a_task_of_their_own():
    atari = pytest.importorskip("opengato.domains.atari")
    task = atari.task("pong", sticky=0.25)
    if not task.available:
        pytest.skip(task.extra)
    assert task.id == "atari/pong-sticky" and task.id not in tasks()
    plain = get_task("atari/pong")
    actions = np.random.default_rng(0).integers(18, size=60)

    def play(task, seed):
        env = task.make()
        env.reset(seed=seed)
        return [env.step(action) and env.ale.getRAM().tobytes() for action in actions][-1]

    assert play(plain, 1) == play(plain, 1) and play(task, 1) == play(task, 1) != play(plain, 1)


def test_a_task_with_a_single_start_cannot_be_split():
    memory = get_task("memory/t-maze")
    one = dataclasses.replace(memory, few_starts=True, start=lambda env: 3)
    assert not is_kept(fingerprint(3))
    with pytest.raises(OpenGatoError, match="too few starts to keep any for evaluation"):
        evaluation_seeds(one, 1)
    with pytest.raises(OpenGatoError, match="evaluate at most 100000"):
        evaluation_seeds(memory, 100_001)
