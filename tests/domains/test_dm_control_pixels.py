"""The suite in pictures: which tasks, what they show, that the state behind them is the suite's and the planner plans on it."""

import numpy as np
import pytest

pytest.importorskip("dm_control")

from opengato.domains import get_task
from opengato.domains.dm_control.pixels import OBSERVATION_SPACE, TASKS
from opengato.domains.dm_control.stated import task_name
from opengato.errors import OpenGatoError


def made(name):
    task = get_task(f"dm-control-pixels/{name}")
    env = task.make()
    try:
        observation, _ = env.reset(seed=0)
    except OpenGatoError as error:
        assert "MUJOCO_GL" in str(error)
        pytest.skip(str(error))
    return task, env, observation


def test_the_benchmarks_twenty_eight():
    made("pendulum-swingup")
    from dm_control import suite

    assert {t.id for t in TASKS} == {f"dm-control-pixels/{task_name(*key)}" for key in suite.BENCHMARKING}
    assert len(TASKS) == 28


@pytest.mark.parametrize("name", ["reacher-easy", "swimmer-swimmer6", "humanoid-stand"])
def test_pictures_show_what_happens(name):
    _, env, first = made(name)
    assert env.observation_space == OBSERVATION_SPACE and OBSERVATION_SPACE.contains(first) and first.std() > 5
    kept = first.copy()
    for _ in range(10):
        observation, *_ = env.step(env.action_space.high)
        assert OBSERVATION_SPACE.contains(observation)
    assert (observation != kept).any()
    np.testing.assert_array_equal(first, kept)  # what was seen is not drawn over
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(again, first)
    other, _ = env.reset(seed=1)
    assert (other != first).any()
    assert env.render().shape == (240, 320, 3)


def test_rewards_are_those_from_state():
    _, env, _ = made("reacher-easy")
    plain = get_task("dm-control/reacher-easy").make()
    plain.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        assert env.step(action)[1] == plain.step(action)[1]
    np.testing.assert_array_equal(env.inner.physics.data.qpos, plain.inner.physics.data.qpos)


def test_the_planner_advises_as_from_state():
    task, env, observation = made("cartpole-balance")
    plain = get_task("dm-control/cartpole-balance")
    other = plain.make()
    seen, _ = other.reset(seed=0)
    experts = task.make_expert(), plain.make_expert()
    experts[0].reset(env, observation, 0)
    experts[1].reset(other, seen, 0)
    for _ in range(10):
        actions = experts[0].act(observation), experts[1].act(seen)
        np.testing.assert_array_equal(*actions)
        observation, seen = env.step(actions[0])[0], other.step(actions[1])[0]


def test_without_a_graphics_library_it_says_what_to_install(monkeypatch):
    _, env, _ = made("pendulum-swingup")

    def fails(*args, **settings):
        raise RuntimeError("no EGL here")

    monkeypatch.setattr(env._camera, "render", fails)
    with pytest.raises(OpenGatoError, match=r"cannot render here \(no EGL here\): install a GL library .* and set MUJOCO_GL=egl"):
        env.reset(seed=0)
