"""Poses over arrays against MuJoCo's own, one state at a time."""

import numpy as np
import pytest

pytest.importorskip("dm_control")
import mujoco

from opengato.domains import get_task
from opengato.experts.kinematics import Poses


@pytest.mark.parametrize(
    "name", ["acrobot-swingup", "fish-swim", "swimmer-swimmer6", "humanoid-run", "manipulator-bring-peg", "quadruped-fetch"]
)
def test_poses_are_mujocos(name):
    model = get_task(f"dm-control/{name}").make().inner.physics.model.ptr
    rng = np.random.default_rng(0)
    qpos = model.qpos0 + rng.uniform(-2, 2, (2, 3, model.nq))
    poses, data = Poses(model, qpos), mujoco.MjData(model)
    for index in np.ndindex(2, 3):
        data.qpos[:] = qpos[index]
        mujoco.mj_forward(model, data)

        def same(found, expected, size, index=index):
            np.testing.assert_allclose(np.broadcast_to(found, (2, 3, *size))[index], expected.reshape(size), atol=1e-12)

        for body in (model.body(k).name for k in range(1, model.nbody)):
            same(poses.body(body), data.body(body).xpos, (3,))
            same(poses.axes(body), data.body(body).xmat, (3, 3))
            same(poses.centre(body), data.body(body).xipos, (3,))
        for geom in filter(None, (model.geom(k).name for k in range(model.ngeom))):
            same(poses.geom(geom), data.geom(geom).xpos, (3,))
        for site in (model.site(k).name for k in range(model.nsite)):
            same(poses.site(site), data.site(site).xpos, (3,))
            same(poses.site_axes(site), data.site(site).xmat, (3, 3))
