"""The suite's environments with Gymnasium's interface, seen as named numbers."""

from __future__ import annotations

import copy
import os
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.experts.planning import Simulation

# What a task's reset moves of the world itself: targets, receptacles, terrain, and how the controls of point_mass hard pull.
_MOVED = ("body_pos", "body_quat", "geom_pos", "site_pos", "wrap_prm", "hfield_data")


@lru_cache(maxsize=8)
def _loaded(domain: str, task: str) -> Any:
    """The suite's environment before its first episode, to be copied: to compile its model again takes several times as long."""
    from dm_control import suite

    return suite.load(domain, task, task_kwargs={"random": 0})


class Suite(gym.Env):
    """A task of `dm_control.suite`: its named observations, rewards in [0, 1], 1,000 control steps; reset's seed seeds its randomness.

    An episode whose physics diverges ends there: terminated, without reward, its observation the last that was finite, and
    `info["diverged"]` True.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, observation_space: spaces.Space, action_space: spaces.Box):
        os.environ.setdefault("MUJOCO_GL", "egl")
        from dm_control.rl.control import PhysicsError

        self.inner = copy.deepcopy(_loaded(domain, task))
        self.observation_space, self.action_space = observation_space, action_space
        self._diverged = PhysicsError

    def _observation(self, raw: dict[str, Any]) -> Any:
        return {key: np.atleast_1d(np.asarray(value, np.float32)).ravel() for key, value in raw.items()}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.inner.task.random.seed(seed % 2**32)
        return self._begin()

    def _begin(self) -> tuple[Any, dict]:
        """A new episode, its observation and info, from the random numbers as they stand."""
        import mujoco

        try:
            self._seen = self._observation(self.inner.reset().observation)
        except mujoco.FatalError as error:  # quadruped escape shows its new terrain to the renderer
            raise no_pictures(error) from error
        return self._seen, {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        try:
            step = self.inner.step(np.asarray(action, np.float64))
        except self._diverged:
            return self._seen, 0.0, True, False, {"diverged": True}
        self._seen = self._observation(step.observation)
        ended = step.last()
        return self._seen, float(step.reward or 0.0), ended and step.discount == 0, ended and step.discount != 0, {}

    def render(self) -> np.ndarray:
        """The first camera's view, (240, 320, 3) uint8."""
        try:
            # Shadows and reflections cost most of a software renderer's time.
            return self.inner.physics.render(240, 320, camera_id=0, render_flag_overrides={"shadow": False, "reflection": False})
        except Exception as error:
            raise no_pictures(error) from error

    def close(self) -> None:
        self.inner.close()


def no_pictures(error: Exception) -> OpenGatoError:
    """What to do where MuJoCo cannot draw."""
    return OpenGatoError(
        f"MuJoCo cannot render here ({error}): install a GL library (Debian: libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl"
    )


def simulation(env: gym.Env) -> Simulation:
    """Where a task of the suite has its physics."""
    suite = env.unwrapped.inner  # type: ignore[attr-defined]
    physics = suite.physics
    return Simulation(physics.model.ptr, physics.data.ptr, round(suite.control_timestep() / physics.timestep()))


def start(env: gym.Env) -> dict[str, np.ndarray]:
    """The state after a reset, and what the task moved of the world itself."""
    physics = env.unwrapped.inner.physics  # type: ignore[attr-defined]
    return {"state": physics.get_state(), **{name: np.array(getattr(physics.model, name)) for name in _MOVED}}
