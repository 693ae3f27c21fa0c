"""Inverse kinematics, against MuJoCo's own forward kinematics."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

import mujoco

from opengato.experts.inverse_kinematics import joint_step, turn_between

ARM = """<mujoco><worldbody><body pos="0 0 0.2"><joint axis="0 0 1" range="-120 120"/><geom size="0.05"/>
 <body pos="0 0 0.1"><joint axis="0 1 0" range="-100 100"/><geom type="capsule" fromto="0 0 0 0 0 0.3" size="0.03"/>
  <body pos="0 0 0.3"><joint axis="0 1 0" range="-150 150"/><geom type="capsule" fromto="0 0 0 0 0 0.3" size="0.03"/>
   <body pos="0 0 0.3"><joint axis="0 1 0" range="-120 120"/><geom size="0.03"/><site name="tip" pos="0 0 0.1"/></body></body></body></body>
</worldbody></mujoco>"""


def test_a_site_comes_where_it_is_wanted_and_no_joint_beyond_its_limits():
    model = mujoco.MjModel.from_xml_string(ARM)
    data, rng = mujoco.MjData(model), np.random.default_rng(1)
    site = model.site("tip").id
    for _ in range(20):
        pose = model.jnt_range[:, 0] + rng.uniform(0.05, 0.95, 4) * np.ptp(model.jnt_range, axis=1)
        data.qpos[:] = pose
        mujoco.mj_forward(model, data)
        wanted = data.site_xpos[site].copy()
        data.qpos[:] = np.clip(pose + rng.uniform(-0.5, 0.5, 4), *model.jnt_range.T)
        for _ in range(200):
            mujoco.mj_forward(model, data)
            before = data.qpos.copy()
            step = joint_step(model, data, site, np.arange(4), (wanted - data.site_xpos[site]).clip(-0.05, 0.05), damping=0.02)
            np.testing.assert_array_equal(before, data.qpos)
            data.qpos += step
            assert (data.qpos >= model.jnt_range[:, 0] - 1e-9).all() and (data.qpos <= model.jnt_range[:, 1] + 1e-9).all()
        assert np.linalg.norm(wanted - data.site_xpos[site]) < 0.005


def test_turns():
    quats = np.array([[1.0, 0, 0, 0], [np.cos(0.01), 0, np.sin(0.01), 0]])
    matrices = np.zeros((2, 9))
    for quat, matrix in zip(quats, matrices, strict=True):
        mujoco.mju_quat2Mat(matrix, quat)
    np.testing.assert_allclose(turn_between(matrices[0].reshape(3, 3), matrices[1].reshape(3, 3)), [0, 0.02, 0], atol=1e-5)
