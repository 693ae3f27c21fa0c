"""The suite's tasks: stated spaces, seeds, rewards over arrays against the suite's own, pictures."""

import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("dm_control")

from opengato.domains.dm_control import RECIPES, TASKS
from opengato.experts.icem import Rolled

by_task = pytest.mark.parametrize("task", TASKS, ids=lambda t: t.id)


@by_task
def test_stated_spaces_are_the_suites(task):
    env = task.make()
    suite = env.inner
    lengths = {k: (int(np.prod(v.shape)) or 1,) for k, v in suite.observation_spec().items()}
    assert {k: s.shape for k, s in task.observation_space.items()} == lengths
    spec = suite.action_spec()
    assert task.action_space == spaces.Box(spec.minimum.astype(np.float32), spec.maximum.astype(np.float32), dtype=np.float32)
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    observation, _ = env.reset(seed=1)
    assert task.observation_space.contains(observation)
    assert suite._step_limit == 1000


@by_task
def test_planned_reward_is_the_suites(task):
    env = task.make()
    suite = env.inner
    physics = suite.physics
    rng = np.random.default_rng(0)
    recipe = next(r for (domain, name), r in RECIPES.items() if task.id == f"dm-control/{domain}-{name}".replace("_", "-"))
    differing = set()
    for seed in range(3):
        env.reset(seed=seed)
        centre = np.zeros(physics.model.nq)
        if "reacher" in task.id:  # few poses hit the target by chance: put it where the finger is in one
            centre = physics.data.qpos.copy()
            physics.named.model.geom_pos["target", :2] = physics.named.data.geom_xpos["finger", :2]
        reward = recipe.reward(physics)
        for k in range(100):
            with physics.reset_context():
                physics.data.qpos[:] = centre + rng.uniform(-1, 1, physics.model.nq) * rng.choice([0.02, 0.2, 1.5])
                physics.data.qvel[:] = rng.uniform(-1, 1, physics.model.nv) * rng.choice([0.1, 1.0, 20.0])
                if task.id == "dm-control/ball-in-cup-catch" and k % 2:
                    physics.data.qpos[3] += 0.35  # near its cup
            physics.set_control(rng.uniform(-1, 1, physics.model.nu))
            physics.forward()
            now = [
                np.array(x, np.float64)[None, None]
                for x in (physics.data.qpos, physics.data.qvel, physics.control(), physics.data.sensordata)
            ]
            expected = suite.task.get_reward(physics)
            np.testing.assert_allclose(reward(Rolled(*now)), [[expected]], atol=1e-9)
            differing.add(float(expected))
    assert len(differing) > 1


def test_episodes_end_by_the_suites_limit():
    env = next(t for t in TASKS if t.id == "dm-control/pendulum-swingup").make()
    env.reset(seed=0)
    for k in range(1000):
        _, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        assert 0 <= reward <= 1 and not terminated and truncated == (k == 999)


def test_seeds_decide():
    env = next(t for t in TASKS if t.id == "dm-control/walker-walk").make()
    first, again, other = (np.concatenate(list(env.reset(seed=s)[0].values())) for s in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pictures():
    env = next(t for t in TASKS if t.id == "dm-control/reacher-easy").make()
    env.reset(seed=0)
    try:
        picture = env.render()
    except Exception as error:
        assert "MUJOCO_GL" in str(error)
        pytest.skip(str(error))
    assert picture.shape == (240, 320, 3) and picture.dtype == np.uint8 and picture.std() > 5


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.dm_control; assert not {'mujoco', 'dm_control'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["reacher-easy", "cartpole-balance"])
def test_replanned_with_other_seeds_the_action_is_much_the_same(name):
    task = next(t for t in TASKS if t.id == f"dm-control/{name}")
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=0)
    expert.reset(env, observation, 0)
    others = [task.make_expert() for _ in range(4)]
    for k, other in enumerate(others):
        other.reset(env, observation, 100 + k)
    chosen = []
    for _ in range(120):
        advice = expert.act(observation)
        chosen.append([other.act(observation) for other in others])
        observation, *_ = env.step(advice)
    assert np.std(chosen, axis=1).mean() < 0.1
