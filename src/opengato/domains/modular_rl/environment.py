"""The bodies' environments: Gymnasium's own code for the whole body, version 5, running on a model with fewer limbs."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.domains.gymnasium_mujoco import Body
from opengato.domains.modular_rl.bodies import LIMBS, build, family, joint_of


def observation_space(name: str) -> spaces.Dict:
    """What is seen of the body `name`: the same numbers of every limb, by the limb's name.

    "torso" has its height above the ground (metres) and pitch (radians), its speeds forward and upward (metres a second) and that
    of its pitch; a limb the angle of its joint and its speed. Of a whole cheetah, walker or hopper that is what Gymnasium shows, but that
    it counts the cheetah's height from where it starts and clips speeds of the others at 10.
    """
    sizes = {"torso": 5, **dict.fromkeys(LIMBS[name], 2)}
    return spaces.Dict({part: spaces.Box(-np.inf, np.inf, (size,), np.float32) for part, size in sizes.items()})


def action_space(name: str) -> spaces.Box:
    """A motor a limb, in the order of `LIMBS`."""
    bound = 0.4 if family(name) == "humanoid" else 1.0
    return spaces.Box(-bound, bound, (len(LIMBS[name]),), np.float32)


class Limbs(Body):
    """A body of `LIMBS`; rewards and ends are Gymnasium's, but that the heights at which a body has fallen move with where it starts."""

    def _make(self, name: str) -> Any:
        inner = _environment(name)
        self._limbs = {limb: inner.model.joint(joint_of(name, limb)) for limb in LIMBS[name]}
        self._above = float(inner.model.body("torso").pos[2] - inner.model.qpos0[1])  # of where its slide is 0
        return inner

    def _observation(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        qpos, qvel = self.inner.data.qpos, self.inner.data.qvel
        seen = {"torso": np.array([self._above + qpos[1], qpos[2], *qvel[:3]], np.float32)}
        for limb, joint in self._limbs.items():
            seen[limb] = np.array([qpos[joint.qposadr[0]], qvel[joint.dofadr[0]]], np.float32)
        return seen


def _environment(name: str) -> Any:
    """The gymnasium.envs.mujoco.MujocoEnv of a body."""
    import mujoco
    from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
    from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
    from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
    from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

    class FlatHumanoid(HumanoidEnv):
        @property
        def is_healthy(self) -> bool:
            low, high = self._healthy_z_range
            return low < self.data.qpos[1] < high  # the third of the coordinates only where the root is free

    bases = {"cheetah": HalfCheetahEnv, "walker": Walker2dEnv, "hopper": HopperEnv, "humanoid": FlatHumanoid}
    base: Any = bases[family(name)]
    model, higher = build(name)

    class Environment(base):
        def _initialize_simulation(self) -> tuple[Any, Any]:
            return model, mujoco.MjData(model)

    healthy = {"walker": (0.8, 2.0), "hopper": (0.7, np.inf)}.get(family(name))
    moved = {} if healthy is None else {"healthy_z_range": (healthy[0] + higher, healthy[1] + higher)}
    return Environment(render_mode="rgb_array", width=240, height=240, **moved)
