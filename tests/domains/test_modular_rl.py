"""Bodies with fewer limbs: what each keeps, that the whole ones are Gymnasium's, and that planning knows what a body is."""

import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

import mujoco

from opengato.domains.modular_rl import TASKS
from opengato.domains.modular_rl.bodies import LIMBS, build, family, joint_of
from opengato.domains.modular_rl.recipes import RECIPES
from opengato.experts.icem import Planner, PlannerConfig, Rolled

BY_NAME = {task.id.split("/")[1]: task for task in TASKS}
WHOLE = {"cheetah-7-full": "HalfCheetah-v5", "walker-7-main": "Walker2d-v5", "hopper-4": "Hopper-v5"}
FALLEN = {"walker": 0.8, "hopper": 0.7, "humanoid": 1.0}  # as Gymnasium's pages have it
by_name = pytest.mark.parametrize("name", LIMBS)


def floats(model):
    """Every array of numbers of a model that is not derived from how its names are stored."""
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: np.array(x) for name, x in arrays.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"}


def test_counts_by_family():
    assert [sum(family(name) == f for name in LIMBS) for f in ("cheetah", "walker", "humanoid", "hopper")] == [15, 8, 8, 3]
    assert all(int(next(part for part in name.split("-")[1:] if part.isdigit())) == 1 + len(limbs) for name, limbs in LIMBS.items())


@by_name
def test_a_motor_for_every_limb_that_remains(name):
    model, _ = build(name)
    assert [model.joint(k).name for k in model.actuator_trnid[:, 0]] == [joint_of(name, limb) for limb in LIMBS[name]]
    assert model.nq == model.nv == 3 + len(LIMBS[name])
    assert {"torso", *LIMBS[name]} <= {model.body(k).name for k in range(model.nbody)}
    space = BY_NAME[name].action_space
    np.testing.assert_array_equal(np.stack([space.low, space.high], 1), model.actuator_ctrlrange.astype(np.float32))


def test_no_two_bodies_are_one():
    models = {name: floats(build(name)[0]) for name in LIMBS}
    same = [
        (a, b)
        for a in LIMBS
        for b in LIMBS
        if a < b and family(a) == family(b) and all(np.array_equal(models[a][key], models[b][key]) for key in models[a])
    ]
    # A walker whose legs are exchanged is the same to the eye, but its motors stand in another order.
    assert same == []


@by_name
def test_mass_is_that_of_the_limbs(name):
    model, _ = build(name)
    if family(name) == "cheetah":
        assert model.body_mass.sum() == pytest.approx(14)  # settotalmass
        return
    assets = {"walker": "Walker2d-v5", "hopper": "Hopper-v5", "humanoid": "Humanoid-v5"}
    whole = gym.make(assets[family(name)]).unwrapped.model
    own = {whole.body(k).name: whole.body_mass[k] for k in range(whole.nbody)}
    if family(name) == "hopper":
        own["lower_leg"] = own["leg"]
    limbs = {part for k in range(model.nbody) if (part := model.body(k).name)}
    assert model.body_mass.sum() == pytest.approx(sum(own[limb] for limb in limbs), rel=1e-12)
    assert len(limbs) == model.nbody


@by_name
def test_stands_as_high_above_the_ground_as_the_whole_body(name):
    env = BY_NAME[name].make()
    model, data = env.inner.model, mujoco.MjData(env.inner.model)
    whole, _ = build(
        {"cheetah": "cheetah-7-full", "walker": "walker-7-main", "hopper": "hopper-4", "humanoid": "humanoid-2d-9-full"}[family(name)]
    )

    def gap(model):
        """The smallest distance of the body's geoms from the ground, as MuJoCo measures it."""
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        ground = model.geom("floor").id
        own = [k for k in range(model.ngeom) if model.geom_bodyid[k]]
        return min(mujoco.mj_geomDistance(model, data, k, ground, 5.0, None) for k in own)

    assert gap(model) == pytest.approx(gap(whole), abs=1e-9)
    mujoco.mj_kinematics(model, data)
    observation, _ = env.reset(seed=0)
    assert observation["torso"][0] == pytest.approx(data.body("torso").xpos[2], abs=0.11)
    if family(name) != "cheetah":  # and may come down as far
        assert model.qpos0[1] - env.inner._healthy_z_range[0] == pytest.approx(whole.qpos0[1] - FALLEN[family(name)])


@pytest.mark.parametrize(("name", "env_id"), WHOLE.items())
def test_whole_bodies_are_gymnasiums_step_by_step(name, env_id):
    env, theirs = BY_NAME[name].make(), gym.make(env_id).unwrapped
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        expected, _ = theirs.reset(seed=seed)
        env.action_space.seed(seed)
        for _ in range(60):
            limbs = np.array([observation[limb] for limb in LIMBS[name]])
            positions = np.concatenate([observation["torso"][:2], limbs[:, 0]])
            positions[0] -= 0.7 if family(name) == "cheetah" else 0.0
            speeds = np.concatenate([observation["torso"][2:], limbs[:, 1]])
            if family(name) != "cheetah":
                speeds = np.clip(speeds, -10, 10)
            np.testing.assert_allclose(np.concatenate([positions, speeds]), expected, atol=1e-6, rtol=1e-6)
            action = env.action_space.sample()
            observation, reward, terminated, *_ = env.step(action)
            expected, wanted, ended, *_ = theirs.step(np.asarray(action, np.float64))
            assert reward == pytest.approx(wanted, abs=1e-9) and terminated == ended
            if ended:
                break


def test_the_flat_humanoid_stays_in_its_plane_and_is_rewarded_as_gymnasiums():
    env = BY_NAME["humanoid-2d-9-full"].make()
    model, data = env.inner.model, env.inner.data
    side = None
    for seed in range(3):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        for _ in range(40):
            before = data.xipos[:, 0] @ model.body_mass / model.body_mass.sum()
            action = env.action_space.sample()
            _, reward, terminated, *_ = env.step(action)
            after = data.xipos[:, 0] @ model.body_mass / model.body_mass.sum()
            contact = min(5e-7 * np.square(data.cfrc_ext).sum(), 10.0)
            healthy = 1.0 < data.qpos[1] < 2.0
            expected = 1.25 * (after - before) / 0.015 + 5.0 * healthy - 0.1 * np.square(np.float64(action)).sum() - contact
            assert reward == pytest.approx(expected, abs=1e-9) and terminated == (not healthy)
            np.testing.assert_allclose(data.xpos[:, 1], data.xpos[:, 1] if side is None else side, atol=1e-9)
            side = data.xpos[:, 1].copy()
            if terminated:
                break


@pytest.mark.parametrize("name", ["walker-3-main", "hopper-5", "cheetah-3-back", "humanoid-2d-7-left-leg"])
def test_planned_reward_is_the_environments(name):
    """But for the humanoid's contact and where its speed is measured."""
    env, recipe = BY_NAME[name].make(), RECIPES[family(name)]
    data = env.inner.data
    substeps = {"cheetah": 1, "humanoid": 2}.get(family(name), 4)  # control steps that a planned one has
    env.reset(seed=0)
    start, states, expected = data.qpos.copy(), [], []
    for _ in range(2):
        got = []
        for _ in range(substeps):
            _, reward, *_ = env.step(np.zeros(env.action_space.shape))
            got.append(reward)
        states.append((data.qpos.copy(), data.qvel.copy(), np.zeros(env.action_space.shape), data.sensordata.copy()))
        expected.append(np.mean(got))
    rolled = Rolled(*(np.array(part)[None] for part in zip(*states, strict=True)), env.inner.model, start)
    raised = rolled.qpos.copy()
    raised[..., 1] += recipe.start - env.inner.model.qpos0[1]
    rewards = recipe.objective(rolled) - recipe.hint(replace(rolled, qpos=raised))
    np.testing.assert_allclose(rewards[0], expected, atol=0.2 if family(name) == "humanoid" else 1e-9)


def test_planning_rolls_out_as_the_environment_does():
    """A copy through XML would not do: it loses the cheetah's total mass."""
    env = BY_NAME["cheetah-4-back"].make()
    env.reset(seed=1)
    data, planner = env.inner.data, Planner(env.inner.model, 5, lambda r: r.qpos[..., 0], PlannerConfig(horizon=4, knots=2), 0)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (1, 40, 3))
    qpos, qvel = planner.simulate(planner.state_of(data), actions, data.qacc_warmstart.copy())
    for t in range(40):
        env.step(actions[0, t])
        np.testing.assert_allclose(qpos[0, t], data.qpos, atol=1e-12)
        np.testing.assert_allclose(qvel[0, t], data.qvel, atol=1e-10)


@pytest.mark.parametrize("name", ["cheetah-2-front", "walker-4-flipped", "hopper-3", "humanoid-2d-7-right-leg"])
def test_expert_acts_alike_again(name):
    actions = []
    for _ in range(2):
        env, expert = BY_NAME[name].make(), BY_NAME[name].make_expert()
        observation, _ = env.reset(seed=7)
        expert.reset(env, observation, 7)
        taken = []
        for _ in range(4):
            taken.append(expert.act(observation))
            assert env.action_space.contains(taken[-1])
            observation, *_ = env.step(taken[-1])
        actions.append(np.stack(taken))
    np.testing.assert_array_equal(*actions)


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.modular_rl; assert 'mujoco' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
