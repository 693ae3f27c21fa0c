"""MiniGrid and the BabyAI levels beside its bot's: spaces, seeds, and a planner that solves them from wherever it is brought."""

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task, match_tasks
from opengato.domains.babyai import LEVELS, PLANNED
from opengato.domains.minigrid import WORLDS
from opengato.domains.starts import evaluation_seeds, is_kept, start_of
from opengato.errors import OpenGatoError

pytest.importorskip("minigrid")
SOLVED = [*(f"minigrid/{name}" for name in WORLDS), *(f"babyai/{name}" for name in sorted(PLANNED))]


@pytest.mark.parametrize("name", SOLVED)
def test_the_planner_solves_it(name):
    task = get_task(name)
    env, expert = task.make(), task.make_expert()
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    episodes = [record_episode(task, env, expert, seed)[0] for seed in range(3)]
    assert all(episode.success for episode in episodes)
    for episode in episodes:
        assert all(0 <= action < task.action_space.n for action in episode.actions)
    observation, _ = env.reset(seed=0)
    assert observation in task.observation_space
    again, _ = env.reset(seed=0)
    assert start_of(task, env, again) == int(episodes[0].info["start"], 16)


@pytest.mark.parametrize(
    "name", ["babyai/go-to-obj-maze", "babyai/boss-level", "babyai/key-in-box", "minigrid/dynamic-obstacles-6x6", "minigrid/locked-room"]
)
@pytest.mark.parametrize("through_walls", [False, True])
def test_what_is_seen_is_what_minigrid_itself_sees(name, through_walls):
    env = get_task(name).make()
    env.action_space.seed(0)
    rng = np.random.default_rng(0)
    world = env.unwrapped
    world.see_through_walls = through_walls
    directions, carried = set(), 0
    for seed in range(6):
        env.reset(seed=seed)
        for _ in range(60):
            observation, *_ = env.step(env.action_space.sample())
            world.agent_dir = int(rng.integers(4))
            theirs, seen = type(world).gen_obs_grid(world)
            ours, also_seen = world.gen_obs_grid()
            assert (seen == also_seen).all() and (theirs.encode(seen) == ours.encode(also_seen)).all()
            assert all(a is b or (a is not None and a.encode() == b.encode()) for a, b in zip(theirs.grid, ours.grid, strict=True))
            directions.add(world.agent_dir)
            carried += world.carrying is not None
    assert directions == {0, 1, 2, 3} and observation["image"].flags.c_contiguous
    assert carried or name not in ("babyai/boss-level", "babyai/key-in-box")


@pytest.mark.parametrize("name", ["minigrid/obstructed-maze-2dlhb", "minigrid/locked-room", "babyai/unlock-to-unlock", "babyai/key-in-box"])
def test_the_planner_goes_on_from_where_others_brought_it_and_changes_nothing(name):
    """Every fifth step is random: keys are dropped in corners, doors shut again, boxes carried about."""
    task = get_task(name)
    env, expert = task.make(), task.make_expert()
    solved, lost = 0, 0
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        expert.reset(env, observation, seed)
        rng, ended = np.random.default_rng(seed), False
        while not ended:
            before = start_of(task, env, observation)
            try:
                advice = expert.act(observation)
            except OpenGatoError:  # the needed box was opened or the like: no way, and it says so
                lost += 1
                break
            assert start_of(task, env, observation) == before
            observation, _, terminated, truncated, info = env.step(rng.integers(7) if rng.random() < 0.2 else advice)
            ended = terminated or truncated
        solved += ended and info["success"]
    assert solved >= 5 and solved + lost == 6


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["minigrid", "babyai"])
def test_no_two_tasks_begin_alike(domain):
    """As ids that stand for the same levels would: but for pairs that differ in what is counted a mistake, or in what is drawn later."""
    known = {
        ("babyai/open-door", "babyai/open-door-debug"),
        ("babyai/open-red-blue-doors", "babyai/open-red-blue-doors-debug"),
        ("babyai/pickup-dist", "babyai/pickup-dist-debug"),
        ("babyai/synth-seq", "babyai/boss-level"),
    }
    found: dict[tuple, list[str]] = {}
    for task in match_tasks([domain]):
        env = task.make()
        found.setdefault(tuple(start_of(task, env, env.reset(seed=seed)[0]) for seed in range(3)), []).append(task.id)
    assert {tuple(names) for names in found.values() if len(names) > 1} <= known


@pytest.mark.parametrize("name", ["minigrid/empty-5x5", "minigrid/lava-gap-s5", "minigrid/memory-s7", "minigrid/dist-shift-1"])
def test_worlds_of_few_starts_have_some_for_evaluation(name):
    task = get_task(name)
    env = task.make()
    starts = {start_of(task, env, env.reset(seed=seed)[0]) for seed in evaluation_seeds(task, 4)}
    assert task.few_starts and starts and all(map(is_kept, starts))


@pytest.mark.parametrize("name", ["minigrid/unlock", "minigrid/door-key-8x8", "minigrid/go-to-object-8x8-n2", "minigrid/put-near-8x8-n3"])
def test_where_starts_are_said_to_be_many_they_are(name):
    task = get_task(name)
    env = task.make()
    starts = [start_of(task, env, env.reset(seed=seed)[0]) for seed in range(200)]
    assert len(set(starts)) >= 199 - 198 * task.few_starts


def test_pixels_are_the_symbols_drawn():
    """The same episode through both views: cells that hold the same, seen or not, look the same, and different ones differ."""
    symbols, pixels = get_task("babyai/go-to-local"), get_task("babyai-pixels/go-to-local")
    assert {task.id for task in match_tasks(["babyai-pixels"])} == {f"babyai-pixels/{name}" for name in LEVELS}
    env, drawn = symbols.make(), pixels.make()
    looks: dict[tuple, bytes] = {}
    expert = pixels.make_expert()
    for seed in range(4):
        seen, _ = env.reset(seed=seed)
        picture, _ = drawn.reset(seed=seed)
        expert.reset(drawn, picture, seed)
        for _ in range(15):
            assert picture in pixels.observation_space
            assert (picture["mission"], picture["direction"]) == (seen["mission"], seen["direction"])
            assert start_of(symbols, env, seen) == start_of(pixels, drawn, picture)
            for x in range(7):
                for y in range(7):
                    tile = picture["image"][16 * y : 16 * y + 16, 16 * x : 16 * x + 16].tobytes()
                    cell = (*seen["image"][x, y], (x, y) == (3, 6))
                    assert looks.setdefault(cell, tile) == tile
            action = expert.act(picture)
            picture, *ended = drawn.step(action)
            seen, *same = env.step(action)
            assert ended == same
            if ended[1] or ended[2]:
                break
    assert len(set(looks.values())) >= len(looks) - 1 > 10  # but for what is unseen and what lies in the dark
