"""MiniWorld and the playroom: stated spaces, worlds beside one another, a walker that foresees what the world will do."""

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task
from opengato.domains.miniworld import LEVELS
from opengato.domains.playroom import TASK_REQUESTS
from opengato.domains.playroom.requests import SPEAK

if not get_task("miniworld/maze").available:  # and not imported here, which without a screen must be done as the domain does it
    pytest.skip("miniworld", allow_module_level=True)


def leaves(observation):
    return list(observation.values()) if isinstance(observation, dict) else [observation]


@pytest.mark.parametrize("name", [*(f"miniworld/{name}" for name in LEVELS), "playroom/everything"])
def test_spaces_and_starts(name):
    task = get_task(name)
    env = task.make()
    try:
        assert env.action_space == task.action_space and env.observation_space == task.observation_space
        seen = [env.reset(seed=seed)[0] for seed in (4, 5, 4)]
        assert all(observation in task.observation_space for observation in seen)
        for first, again in zip(leaves(seen[0]), leaves(seen[2])):
            np.testing.assert_array_equal(first, again)
        assert any(not np.array_equal(a, b) for a, b in zip(leaves(seen[0]), leaves(seen[1])))
        env.action_space.seed(0)
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert observation in task.observation_space and type(reward) is float and {type(terminated), type(truncated)} == {bool}
        assert info["success"] is False and env.render().shape == (240, 320, 3)
    finally:
        env.close()


def test_worlds_of_one_process_keep_their_walls():
    """MiniWorld's own do not: all are drawn with those of the world that was reset last."""
    maze, room = get_task("miniworld/maze-s2").make(), get_task("miniworld/wall-gap").make()
    seen, _ = maze.reset(seed=1)
    other, _ = room.reset(seed=1)
    np.testing.assert_array_equal(maze.unwrapped.render_obs(), seen)
    room.close()
    np.testing.assert_array_equal(maze.unwrapped.render_obs(), seen)
    maze.close()
    assert not np.array_equal(seen, other)


@pytest.mark.parametrize("name", ["four-rooms", "pickup-objects", "y-maze"])
def test_what_the_walker_holds_to_be_free_the_world_lets_it_enter(name):
    from opengato.domains.miniworld.walker import View

    env = get_task(f"miniworld/{name}").make()
    rng, agreed = np.random.default_rng(0), []
    for seed in range(3):
        env.reset(seed=seed)
        world = env.unwrapped
        view = View(world)
        for x, z in rng.uniform([world.min_x, world.min_z], [world.max_x, world.max_z], (150, 2)):
            blocked = world.intersect(world.agent, np.array([x, 0, z]), world.agent.radius)
            assert view.clear(x, z, world.agent.radius) == (not blocked)
            agreed.append(bool(blocked))
    assert 0.1 < np.mean(agreed) < 0.95  # both were asked for
    env.close()


@pytest.mark.parametrize("name", ["one-room", "maze-s3-fast", "sign", "put-next", "pickup-objects", "room-objects", "sidewalk"])
def test_the_walker_does_its_errands(name):
    task = get_task(f"miniworld/{name}")
    env = task.make()
    assert [record_episode(task, env, task.make_expert(), seed)[0].success for seed in range(3)] == [True] * 3
    env.close()


def test_the_walker_finds_its_way_back_and_leaves_the_world_as_it_is():
    task = get_task("miniworld/four-rooms")
    env, expert = task.make(), task.make_expert()
    assert record_episode(task, env, expert, seed=1, noise=0.3)[0].success
    observation, _ = env.reset(seed=2)
    expert.reset(env, observation, 2)
    before, picture = task.start(env), env.unwrapped.render_obs()
    expert.act(observation)
    after = task.start(env)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    np.testing.assert_array_equal(env.unwrapped.render_obs(), picture)
    env.close()


def test_the_sign_must_be_read():
    env = get_task("miniworld/sign").make()
    drawn = {(env.reset(seed=seed)[0]["goal"].item(), env.unwrapped._color_index) for seed in range(40)}
    assert len(drawn) == 6
    env.close()


# ---- playroom -------------------------------------------------------------------------------------------------------------------


def test_answers_are_true_of_the_room():
    """Counted again from MiniWorld's own things, whatever the request believes."""
    words = set()
    for name in ("answer-colour", "answer-shape", "answer-count", "answer-presence"):
        env = get_task(f"playroom/{name}").make()
        for seed in range(25):
            observation, _ = env.reset(seed=seed)
            request = env.requests[0]
            kinds = [(thing.color if hasattr(thing, "color") else None, type(thing).__name__.lower()) for thing in env.things]
            shapes = [shape for _, shape in kinds]
            text = observation["request"].rstrip("?").split()
            colours = [named.colour for named in env.named]
            assert [named.shape for named in env.named] == shapes
            if name == "answer-colour":
                assert shapes.count(text[-1]) == 1 and request.answer == colours[shapes.index(text[-1])]
            elif name == "answer-shape":
                assert colours.count(text[3]) == 1 and request.answer == f"a {shapes[colours.index(text[3])]}"
            elif name == "answer-count":
                number = ["zero", "one", "two", "three", "four", "five", "six"].index(request.answer)
                assert number == sum(shape in text[2] for shape in shapes)
            else:
                assert request.answer == ("yes" if (text[3], text[4]) in list(zip(colours, shapes)) else "no")
            words.add(request.answer)
        env.close()
    assert {"yes", "no", "red", "blue", "one", "two", "a ball", "a key"} <= words


def test_boxes_have_the_colour_that_is_told():
    env = get_task("playroom/answer-colour").make()
    seen = set()
    for seed in range(10):
        env.reset(seed=seed)
        for named, thing in zip(env.named, env.things):
            if named.shape == "box":
                assert thing.color == named.colour
                seen.add(named.colour)
    assert len(seen) > 3
    env.close()


def test_a_wrong_answer_ends_the_episode_and_a_right_one_is_worth_one():
    env = get_task("playroom/answer-colour").make()
    env.reset(seed=0)
    quiet = {"move": 0, "say": env.request.answer}
    assert env.step(quiet)[1:4] == (0.0, False, False)  # words without speaking are not heard
    _, reward, terminated, _, info = env.step({"move": SPEAK, "say": f"It is {env.request.answer.upper()}."})
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step({"move": SPEAK, "say": "transparent"})
    assert (reward, terminated, info["success"]) == (0.0, True, False)
    env.close()


@pytest.mark.parametrize("name", TASK_REQUESTS)
def test_the_helper_fulfils_requests(name):
    task = get_task(f"playroom/{name}")
    env = task.make()
    for seed in range(2):
        episode, _ = record_episode(task, env, task.make_expert(), seed)
        assert episode.success and episode.episode_return == len(TASK_REQUESTS[name])
    env.close()


@pytest.mark.slow
def test_put_next_to_nine_times_in_ten():
    for name in ("miniworld/put-next", "playroom/put-next-to"):
        task = get_task(name)
        env = task.make()
        assert sum(bool(record_episode(task, env, task.make_expert(), seed)[0].success) for seed in range(100, 120)) >= 18
        env.close()
