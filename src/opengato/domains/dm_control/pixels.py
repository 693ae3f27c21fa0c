"""DM Control Suite from pictures of 64×64 pixels, solved by planning on the state behind them.

The 28 tasks of the suite's benchmark, as its first camera sees them. Pictures are drawn without shadows, reflections and smoothed edges
and with coarser round shapes, which a software renderer would spend most of its time on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.environment import Suite, no_pictures
from opengato.domains.dm_control.listing import listed

SIDE = 64
OBSERVATION_SPACE = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)

# `suite.BENCHMARKING`: all of the domains that it has, but for the tasks that came later.
_DOMAINS = "acrobot ball_in_cup cartpole cheetah finger fish hopper humanoid manipulator pendulum point_mass reacher swimmer walker".split()
_LATER = {
    *(("cartpole", "two_poles"), ("cartpole", "three_poles"), ("humanoid", "run_pure_state"), ("point_mass", "hard")),
    *(("manipulator", task) for task in ("bring_peg", "insert_ball", "insert_peg")),
}
BENCHMARKING = tuple(key for key in stated.TASKS if key[0] in _DOMAINS and key not in _LATER)


class Pictures(Suite):
    """A task of the suite, seen as a picture (64, 64, 3) uint8."""

    def __init__(self, domain: str, task: str, observation_space: spaces.Box, action_space: spaces.Box):
        super().__init__(domain, task, observation_space, action_space)
        quality = self.inner.physics.model.vis.quality
        quality.offsamples, quality.numslices, quality.numstacks = 0, 12, 8
        self._camera: Any = None

    def _observation(self, raw: dict[str, Any]) -> np.ndarray:
        from dm_control.mujoco.engine import Camera

        try:
            if self._camera is None:  # kept: making one takes longer than drawing
                self._camera = Camera(self.inner.physics, SIDE, SIDE, camera_id=0)
            # A copy: the camera draws into the same array again.
            return self._camera.render(render_flag_overrides={"shadow": False, "reflection": False}).copy()
        except Exception as error:
            raise no_pictures(error) from error


TASKS = [listed("dm-control-pixels", key, Pictures, OBSERVATION_SPACE) for key in BENCHMARKING]
