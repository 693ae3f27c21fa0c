"""Drawn bodies: what is drawn, that nothing of a body outlives its episode, what MuJoCo makes of it, and that the planner plans for it."""

import numpy as np
import pytest

pytest.importorskip("dm_control")
import mujoco

from opengato.domains import get_task
from opengato.domains.dm_control import random_large, random_small
from opengato.domains.dm_control.drawn import LARGE, SMALL, scale
from opengato.domains.dm_control.recipes import REWARDS
from opengato.domains.starts import start_of
from opengato.errors import OpenGatoError
from opengato.experts.icem import Planner, PlannerConfig, Rolled


def large(name):
    return get_task(f"dm-control-random-large/{name}")


def test_twenty_six_each_all_but_the_swimmers_with_an_expert():
    for domain in (random_small, random_large):
        assert len(domain.TASKS) == 26 and all((task.make_expert is None) == ("swimmer" in task.id) for task in domain.TASKS)


@pytest.mark.parametrize(("spread", "low", "high"), [(SMALL, 0.9, 1.1), (LARGE, 0.6, 1.4)])
def test_factors_are_off_by_as_much_as_said_and_independent(spread, low, high):
    factors = spread.draw(10_000, np.random.default_rng(0))
    off = np.abs(factors - 1)
    assert low <= factors.min() < low + 0.01 and high - 0.01 < factors.max() <= high
    assert off.min() >= min(1 - spread.below[1], spread.above[0] - 1) - 1e-12 and 0.48 < (factors > 1).mean() < 0.52
    assert len(np.unique(factors)) == 10_000


@pytest.mark.parametrize("name", ["walker-walk", "humanoid-stand", "fish-swim", "ball-in-cup-catch"])
def test_the_model_is_the_suites_times_the_draw_and_the_seed_decides(name):
    task = large(name)
    env, plain = task.make(), get_task(f"dm-control/{name}").make().inner.physics.model
    model, seen, starts = env.inner.physics.model, [], []
    for seed in (1, 2, 1):
        observation, info = env.reset(seed=seed)
        for key, factors in info["draw"].items():
            expected = getattr(plain, key) * factors.reshape(-1, *[1] * (getattr(plain, key).ndim - 1))
            np.testing.assert_allclose(getattr(model, key), expected, rtol=1e-12, err_msg=key)
        assert set(info["draw"]) == {"geom_size", "body_mass", "actuator_gear", "dof_damping", "geom_friction"}
        np.testing.assert_allclose(model.body_subtreemass[0], model.body_mass.sum())  # derived constants are of this body
        seen.append(np.concatenate(list(info["draw"].values())))
        starts.append(start_of(task, env, observation))
    np.testing.assert_array_equal(seen[0], seen[2])
    assert starts[0] == starts[2] != starts[1] and not np.array_equal(seen[0], seen[1])


def test_another_body_in_the_same_pose_is_another_start():
    task = large("walker-walk")
    env = task.make()
    observation, _ = env.reset(seed=0)
    before = start_of(task, env, observation)
    env.draw["body_mass"] = env.draw["body_mass"] * 1.01
    assert start_of(task, env, observation) != before


@pytest.mark.parametrize("name", ["cheetah-run", "humanoid-stand"])
def test_grown_geoms_are_bounded_and_collide_as_without_their_bounds(name):
    env = large(name).make()
    env.reset(seed=3)
    model = env.inner.physics.model.ptr
    radii = {
        mujoco.mjtGeom.mjGEOM_SPHERE: lambda size: size[0],
        mujoco.mjtGeom.mjGEOM_CAPSULE: lambda size: size[0] + size[1],
    }
    for kind, bound, size in zip(model.geom_type, model.geom_rbound, model.geom_size, strict=True):
        if kind in radii:
            np.testing.assert_allclose(bound, radii[kind](size))
    data, rng, contacts = mujoco.MjData(model), np.random.default_rng(0), []
    for _ in range(60):
        data.qpos[:] = model.qpos0 + rng.uniform(-1.5, 1.5, model.nq)
        found = []
        for flags in (0, int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)):
            model.opt.disableflags |= flags
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_collision(model, data)
            model.opt.disableflags &= ~flags
            found.append(sorted(map(tuple, data.contact.geom[: data.ncon].tolist())))
        assert found[0] == found[1]
        contacts += found[0]
    assert len(set(contacts)) > 3


def test_scaled_shapes_are_those_that_mujoco_would_compile():
    """A fish's fluid forces depend on its size through fields of their own."""
    xml = """<mujoco><option density="1000"/><worldbody><body><freejoint/>
        <geom name="a" type="ellipsoid" size="{a} {b} {c}" fluidshape="ellipsoid" mass="1"/></body></worldbody></mujoco>"""
    small, grown = (mujoco.MjModel.from_xml_string(xml.format(a=0.1 * s, b=0.2 * s, c=0.3 * s)) for s in (1, 1.3))
    one = {"body_mass": np.ones(2), "actuator_gear": np.ones(0), "dof_damping": np.ones(6), "geom_friction": np.ones(1)}
    scale(small, {**one, "geom_size": np.array([1.3])})
    for field in ("geom_size", "geom_rbound", "geom_aabb", "geom_fluid", "bvh_aabb"):
        np.testing.assert_allclose(getattr(small, field), getattr(grown, field), rtol=1e-9, err_msg=field)


def test_damping_that_the_task_sets_itself_is_drawn():
    env = large("finger-spin").make()
    _, info = env.reset(seed=0)
    np.testing.assert_allclose(env.inner.physics.named.model.dof_damping["hinge"], 0.03 * info["draw"]["dof_damping"][2])


@pytest.mark.parametrize("name", ["cheetah-run", "finger-spin"])
def test_the_planner_plans_for_the_body_drawn(name):
    env = large(name).make()
    env.reset(seed=0)
    env.reset(seed=5)
    physics, rng = env.inner.physics, np.random.default_rng(0)
    substeps = round(env.inner.control_timestep() / physics.timestep())
    reward = next(reward for (domain, task), reward in REWARDS.items() if f"{domain}-{task}" == name)
    planner = Planner(physics.model.ptr, substeps, reward, PlannerConfig(), 0)
    actions = rng.uniform(-1, 1, (1, 25, *env.action_space.shape))
    qpos, qvel = planner.simulate(planner.state_of(physics.data.ptr), actions, physics.data.qacc_warmstart.copy())
    for t in range(25):
        _, got, *_ = env.step(actions[0, t])
        np.testing.assert_allclose(qpos[0, t], physics.data.qpos, atol=1e-12)
        np.testing.assert_allclose(qvel[0, t], physics.data.qvel, atol=1e-10)
        now = (physics.data.qpos, physics.data.qvel, physics.control(), physics.data.sensordata)
        state = Rolled(*(np.array(x)[None, None] for x in now), physics.model.ptr, physics.data.qpos.copy())
        np.testing.assert_allclose(reward(state), [[got]], atol=1e-9)


def test_a_body_that_cannot_stand_is_drawn_anew(monkeypatch):
    env = large("hopper-stand").make()
    seen = []

    def rests(model):
        seen.append(env.draw["body_mass"])
        return len(seen) == 3

    monkeypatch.setattr(env, "_rests", rests)
    _, info = env.reset(seed=0)
    assert len(seen) == 3 and info["draw"]["body_mass"] is seen[2] and not np.array_equal(seen[1], seen[2])
    monkeypatch.setattr(env, "_rests", lambda model: False)
    with pytest.raises(OpenGatoError, match="of 100 bodies drawn for hopper stand none can stand"):
        env.reset(seed=0)


def test_physics_that_diverges_at_rest_is_noticed():
    env = large("hopper-stand").make()
    env.reset(seed=0)
    model = env.inner.physics.model.ptr
    assert env._rests(model)
    model.dof_damping[:] = -1e3
    assert not env._rests(model)
