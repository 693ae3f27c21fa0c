"""Bodies drawn anew for every episode: sizes of geoms, masses of bodies, gears, damping of joints and friction, each by its own factor.

Factors are drawn on the compiled model, so that nothing else of it changes. Where limbs meet at their joints stays as it is; the ground,
targets and whatever else belongs to the world keep their size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.dm_control import environment
from opengato.domains.dm_control.environment import Suite
from opengato.domains.dm_control.pixels import BENCHMARKING
from opengato.errors import OpenGatoError

# The benchmark's 28, without two whose experts failed; of what is left only the swimmers have none.
DRAWN = tuple(key for key in BENCHMARKING if key not in {("manipulator", "bring_ball"), ("hopper", "hop")})

_TRIES = 100
_PASSIVE_SECONDS = 0.5
# What the factors, and the constants that MuJoCo derives from them, change of a model.
_CHANGED = "geom_size geom_rbound geom_aabb geom_fluid geom_friction bvh_aabb body_mass body_inertia actuator_gear dof_damping".split()


@dataclass(frozen=True)
class Spread:
    """Factors are drawn evenly from two ranges, below and above 1."""

    below: tuple[float, float]
    above: tuple[float, float]

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) factors."""
        up = rng.random(count) < 0.5
        return np.where(up, rng.uniform(*self.above, count), rng.uniform(*self.below, count))


SMALL, LARGE = Spread((0.9, 0.95), (1.05, 1.1)), Spread((0.6, 0.8), (1.2, 1.4))


def draw(model: Any, spread: Spread, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Factors for a mujoco.MjModel by the field that they scale: one a geom, body, actuator or joint's freedom; 1 for the world's size."""
    factors = {
        "geom_size": spread.draw(model.ngeom, rng),
        "body_mass": spread.draw(model.nbody, rng),
        "actuator_gear": spread.draw(model.nu, rng),
        "dof_damping": spread.draw(model.nv, rng),
        "geom_friction": spread.draw(model.ngeom, rng),
    }
    factors["geom_size"][model.geom_bodyid == 0] = 1.0
    return factors


def scale(model: Any, factors: dict[str, np.ndarray]) -> None:
    """Give a model of primitive shapes this body, in place; MuJoCo's derived constants still want `mj_setConst`."""
    size = factors["geom_size"]
    model.geom_size *= size[:, None]
    model.geom_rbound *= size
    model.geom_aabb *= size[:, None]
    model.geom_fluid[:, 6:9] *= size[:, None] ** 3  # virtual mass
    model.geom_fluid[:, 9:12] *= size[:, None] ** 5  # virtual inertia
    for body in range(model.nbody):  # boxes that tell what may touch: made larger about their middle they still hold all that is inside
        first, count = model.body_bvhadr[body], model.body_bvhnum[body]
        model.bvh_aabb[first : first + count, 3:] *= max(1.0, size[model.geom_bodyid == body].max(initial=1.0))
    model.body_mass *= factors["body_mass"]
    model.body_inertia *= factors["body_mass"][:, None]
    model.actuator_gear *= factors["actuator_gear"][:, None]
    model.dof_damping *= factors["dof_damping"]
    model.geom_friction *= factors["geom_friction"][:, None]


class Drawn(Suite):
    """A task of the suite with another body in each episode; `info["draw"]` of reset has the factors, see `draw`.

    A body whose limbs are stuck in each other, which finds no start, or whose physics diverges at rest, is drawn anew.
    """

    def __init__(self, domain: str, task: str, observation_space: spaces.Space, action_space: spaces.Box, spread: Spread):
        super().__init__(domain, task, observation_space, action_space)
        model = self.inner.physics.model.ptr
        self._spread, self._name = spread, f"{domain} {task}"
        self._base = {name: np.array(getattr(model, name)) for name in _CHANGED}
        self._touching = self._touches()
        self.draw: dict[str, np.ndarray] = {}

    def _begin(self) -> tuple[Any, dict]:
        model = self.inner.physics.model.ptr
        for _ in range(_TRIES):
            self.draw = draw(model, self._spread, self.np_random)
            self._put_on(model)
            if not self._touches() <= self._touching:
                continue
            try:
                observation, info = super()._begin()
            except (RuntimeError, self._diverged):  # no start without limbs in each other
                continue
            self._put_on_again(model)
            if self._rests(model):
                return observation, {**info, "draw": self.draw}
        raise OpenGatoError(f"of {_TRIES} bodies drawn for {self._name} none can stand: name another seed")

    def _put_on(self, model: Any) -> None:
        import mujoco

        for name, value in self._base.items():
            getattr(model, name)[:] = value
        scale(model, self.draw)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        self._worn = np.array(model.dof_damping)

    def _put_on_again(self, model: Any) -> None:
        """The damping that the task itself set as the episode began, as finger spin does, is drawn too."""
        own = model.dof_damping != self._worn
        if own.any():
            model.dof_damping[own] *= self.draw["dof_damping"][own]
            self.inner.physics.after_reset()

    def _touches(self) -> set[tuple[int, int]]:
        """The pairs of the body's geoms that touch in the model's own pose."""
        import mujoco

        model = self.inner.physics.model.ptr
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        pairs = {(min(pair), max(pair)) for pair in data.contact.geom[: data.ncon].tolist()}
        return {pair for pair in pairs if all(model.geom_bodyid[geom] for geom in pair)}

    def _rests(self, model: Any) -> bool:
        """Whether the physics lasts for a while if nothing is done."""
        import mujoco

        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = self.inner.physics.data.qpos, self.inner.physics.data.qvel
        mujoco.mj_step(model, data, int(_PASSIVE_SECONDS / model.opt.timestep))
        return not any(data.warning[kind].number for kind in (mujoco.mjtWarning.mjWARN_BADQACC, mujoco.mjtWarning.mjWARN_BADQVEL))


def start(env: gym.Env) -> dict[str, Any]:
    """The state after a reset, what the task moved of the world, and the body."""
    return {**environment.start(env), "draw": env.unwrapped.draw}  # type: ignore[attr-defined]
