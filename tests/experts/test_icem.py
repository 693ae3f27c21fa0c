"""The planner: its noise, its copy of the environment, and what it does when it is not obeyed."""

import copy

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

from opengato.domains import get_task
from opengato.experts.icem import Planner, PlannerConfig, coloured_noise


def start(name, seed=3):
    task = get_task(f"dm-control/{name}")
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=seed)
    expert.reset(env, observation, seed)
    return env, expert, observation


def test_noise_has_unit_variance_and_the_colour_asked_for():
    rng = np.random.default_rng(0)
    for t in (8, 9):
        noise = coloured_noise((20_000, t, 1), 2.0, rng)
        assert np.isclose(noise.var(), 1.0, atol=0.03)
        power = (np.abs(np.fft.rfft(noise[..., 0])) ** 2).mean(0)
        assert np.isclose(power[1] / power[3], 9.0, rtol=0.1)  # 1/f² at three times the frequency
    assert np.isclose(coloured_noise((20_000, 8, 1), 0.0, rng).var(), 1.0, atol=0.03)


@pytest.mark.parametrize(
    "name", ["cartpole-two-poles", "finger-turn-hard", "ball-in-cup-catch", "finger-spin", "walker-walk", "cheetah-run"]
)
def test_rolls_out_as_the_environment_does(name):
    env, expert, _ = start(name)
    physics, planner = env.inner.physics, expert._planner
    rng = np.random.default_rng(0)
    for _ in range(5):
        env.step(rng.uniform(-1, 1, env.action_space.shape))
    actions = rng.uniform(-1, 1, (2, 25, *env.action_space.shape))
    qpos, qvel = planner.simulate(planner.state_of(physics.data.ptr), actions, physics.data.qacc_warmstart.copy())
    for t in range(25):
        env.step(actions[0, t])
        np.testing.assert_allclose(qpos[0, t], physics.data.qpos, atol=1e-12)
        np.testing.assert_allclose(qvel[0, t], physics.data.qvel, atol=1e-11)


def test_acting_leaves_the_environment_as_it_was():
    env, expert, observation = start("reacher-easy")
    data = env.inner.physics.data
    before = [copy.copy(x) for x in (data.qpos, data.qvel, data.ctrl, data.qacc_warmstart, data.time)]
    expert.act(observation)
    for old, new in zip(before, (data.qpos, data.qvel, data.ctrl, data.qacc_warmstart, data.time), strict=True):
        np.testing.assert_array_equal(old, new)


def test_replans_when_another_action_was_taken():
    plans = []

    class Counting(Planner):
        def _plan(self, data):
            plans.append(data.time)
            super()._plan(data)

    env, _, _ = start("reacher-easy")
    data = env.inner.physics.data.ptr
    planner = Counting(data.model, 1, lambda r: -np.square(r.qpos).sum(-1), PlannerConfig(horizon=6, knots=3, replan=4), 0)
    for _ in range(8):
        env.step(planner.act(data).astype(np.float32))
    assert len(plans) == 2
    planner.act(data)
    assert len(plans) == 3
    planner.act(data)  # asked twice about one state
    assert len(plans) == 3
    env.step(np.array([1.0, -1.0]))
    planner.act(data)
    assert len(plans) == 4


def test_finds_the_optimum_of_a_known_problem():
    env, _, _ = start("pendulum-swingup")
    data = env.inner.physics.data.ptr
    config = PlannerConfig(horizon=5, knots=3, samples=32, iterations=8, least_std=0.0, action_cost=0, change_cost=0, momentum=0)
    action = Planner(data.model, 1, lambda r: -np.square(r.actions[..., 0] - 0.37), config, 0).act(data)
    np.testing.assert_allclose(action, 0.37, atol=0.03)


def test_stretch_must_divide_the_planned_step():
    env, _, _ = start("pendulum-swingup")
    with pytest.raises(ValueError, match="stretch 3"):
        Planner(env.inner.physics.model.ptr, 1, lambda r: r.qpos, PlannerConfig(step=2, stretch=3), 0)
