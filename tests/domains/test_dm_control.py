"""The suite's tasks: stated spaces, seeds, rewards over arrays against the suite's own, pictures."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("dm_control")

from opengato.domains.dm_control import TASKS, stated
from opengato.domains.dm_control.controllers import DESIGNS
from opengato.domains.dm_control.recipes import RECIPES, REWARDS
from opengato.errors import OpenGatoError
from opengato.experts.icem import Rolled

KEYS = {f"dm-control/{stated.task_name(*key)}": key for key in stated.TASKS}
SLOW_TO_MAKE = ("dog", "humanoid-cmu")
by_task = pytest.mark.parametrize(
    "task", [pytest.param(t, id=t.id, marks=[pytest.mark.slow] if any(s in t.id for s in SLOW_TO_MAKE) else []) for t in TASKS]
)


@cache
def made(name):
    return next(t for t in TASKS if t.id == name).make()


def test_all_of_the_suite_but_lqr():
    made("dm-control/pendulum-swingup")  # which chooses how to draw, before anything else does
    from dm_control import suite

    assert set(stated.TASKS) == {key for key in suite.ALL_TASKS if key[0] != "lqr"} and len(TASKS) == 49
    assert set(REWARDS) == set(stated.TASKS) and set(RECIPES) <= set(REWARDS)
    assert not set(DESIGNS) & set(RECIPES) and set(DESIGNS) <= set(REWARDS)


@by_task
def test_stated_spaces_are_the_suites(task):
    env = made(task.id)
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
def test_an_environment_is_as_the_suite_loads_it_whatever_another_does(task):
    env, other = task.make(), task.make()
    from dm_control import suite

    loaded = suite.load(*KEYS[task.id], task_kwargs={"random": 0})
    loaded.task.random.seed(7)
    other.reset(seed=8)
    observation, _ = env.reset(seed=7)
    expected = loaded.reset()
    env.action_space.seed(0)
    for _ in range(10):
        for key, value in expected.observation.items():
            assert (observation[key] == np.ravel(value).astype(np.float32)).all()
        action = env.action_space.sample()
        other.step(-action)
        observation, reward, *_ = env.step(action)
        expected = loaded.step(action.astype(np.float64))
        assert reward == expected.reward
    env.close(), other.close()


def rolled(physics):
    now = (physics.data.qpos, physics.data.qvel, physics.control(), physics.data.sensordata)
    return Rolled(*(np.array(x, np.float64)[None, None] for x in now), physics.model.ptr, physics.data.qpos.copy())


def scattered(task, physics, rng):
    """Around the state after a reset, near and far; things that seldom meet by chance are brought together."""
    centre = physics.data.qpos.copy()
    if "reacher" in task.id:  # few poses hit the target by chance: put it where the finger is in one
        physics.named.model.geom_pos["target", :2] = physics.named.data.geom_xpos["finger", :2]
    if "fish-swim" in task.id:
        physics.named.model.geom_pos["target"] = physics.named.data.geom_xpos["mouth"]
    if "swimmer" in task.id:
        physics.named.model.geom_pos["target", :2] = physics.named.data.geom_xpos["nose", :2]
    if "ball-in-cup" in task.id:
        centre[3] += 0.35  # near its cup
    if any(name in task.id for name in ("acrobot", "cartpole", "pendulum", "walker", "point-mass", "hopper")):
        centre = np.zeros(physics.model.nq)
    if "manipulator" in task.id or "stacker" in task.id:  # the target is where the thing is, give or take
        thing, target = (
            ("box0", "target") if "stacker" in task.id else ("peg", "target_peg") if "peg" in task.id else ("ball", "target_ball")
        )
        physics.named.model.body_pos[target, ["x", "z"]] = physics.named.data.xpos[thing, ["x", "z"]]
    # MuJoCo itself dies of a dog whose many limbs are deep inside each other.
    scales = (0.002, 0.02, 0.2, 1.5) if physics.model.nv < 60 else (0.002, 0.01, 0.03, 0.06)
    for k in range(100):
        with physics.reset_context():
            physics.data.qpos[:] = centre + rng.uniform(-1, 1, physics.model.nq) * scales[k % 4]
            physics.data.qvel[:] = rng.uniform(-1, 1, physics.model.nv) * rng.choice([0.1, 1.0, 20.0])
        physics.set_control(rng.uniform(-1, 1, physics.model.nu))
        physics.forward()
        yield


@by_task
def test_planned_reward_is_the_suites(task):
    """In states of every kind, and along an episode of random actions."""
    env = made(task.id)
    suite, reward, rng = env.inner, REWARDS[KEYS[task.id]], np.random.default_rng(0)
    physics, found, expected = suite.physics, [], []
    with np.errstate(all="ignore"):
        for seed in range(2):
            env.reset(seed=seed)
            for _ in range(25):
                *_, diverged = env.step(rng.uniform(env.action_space.low, env.action_space.high))
                if not diverged:
                    found.append(reward(rolled(physics))[0, 0])
                    expected.append(suite.task.get_reward(physics))
            for _ in scattered(task, physics, rng):
                found.append(reward(rolled(physics))[0, 0])
                expected.append(suite.task.get_reward(physics))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert len(set(expected)) > 1


@pytest.mark.parametrize(
    "task", [t for t in TASKS if t.id.split("/")[1] in ("walker-walk", "fish-swim", "finger-turn-easy")], ids=lambda t: t.id
)
def test_planned_reward_is_the_suites_along_a_plan(task):
    env, expert, reward = task.make(), task.make_expert(), REWARDS[KEYS[task.id]]
    observation, _ = env.reset(seed=0)
    expert.reset(env, observation, 0)
    for _ in range(15):
        observation, got, *_ = env.step(expert.act(observation))
        np.testing.assert_allclose(reward(rolled(env.inner.physics)), [[got]], atol=1e-9)


def test_episodes_end_by_the_suites_limit():
    env = made("dm-control/pendulum-swingup")
    env.reset(seed=0)
    for k in range(1000):
        _, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        assert 0 <= reward <= 1 and not terminated and truncated == (k == 999)


def test_physics_that_diverges_ends_the_episode():
    env = made("dm-control/walker-walk")
    env.reset(seed=0)
    env.inner.physics.data.qvel[0] = np.nan
    observation, reward, terminated, truncated, info = env.step(np.zeros(6, np.float32))
    assert (reward, terminated, truncated, info) == (0.0, True, False, {"diverged": True})
    assert all(np.isfinite(x).all() for x in observation.values())
    env.reset(seed=0)
    assert not env.step(np.zeros(6, np.float32))[4]


@pytest.mark.parametrize("name", ["walker-walk", "point-mass-hard", "manipulator-insert-peg"])
def test_seeds_decide(name):
    from opengato.domains.starts import start_of

    task, env = next(t for t in TASKS if t.id == f"dm-control/{name}"), made(f"dm-control/{name}")
    first, again, other = (start_of(task, env, env.reset(seed=s)[0]) for s in (4, 4, 5))
    assert first == again != other


def test_pictures():
    env = made("dm-control/reacher-easy")
    env.reset(seed=0)
    try:
        picture = env.render()
    except OpenGatoError as error:
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
