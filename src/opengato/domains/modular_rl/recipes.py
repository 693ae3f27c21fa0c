"""How the bodies are planned, a recipe a family: what is aimed at, and how far and how hard to look."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from opengato.domains.gymnasium_mujoco import hopper_well, runner, walker_well
from opengato.experts.icem import PlannerConfig, Reward, Rolled


@dataclass(frozen=True)
class Recipe:
    """What plans are compared by, and the planner's settings.

    Attributes:
        reward: Gymnasium's, of a whole body. hint: added to it while planning.
        start: the height that a whole body starts at, as its root's slide has it, metres. A body with fewer limbs starts lower, and has
            fallen by as much lower.
    """

    reward: Reward
    hint: Reward
    start: float
    planner: PlannerConfig

    def objective(self, r: Rolled) -> np.ndarray:
        """(N, T) that plans are compared by."""
        qpos = r.qpos.copy()
        qpos[..., 1] += self.start - r.model.qpos0[1]
        as_whole = replace(r, qpos=qpos)
        return self.reward(as_whole) + self.hint(as_whole)


def _humanoid_well(r: Rolled) -> np.ndarray:
    return (r.qpos[..., 1] > 1.0) & (r.qpos[..., 1] < 2.0)


def _stand(height: float, high: float, upright: float) -> Reward:
    """So much for a metre of height, up to the `height` that is high enough, and for the cosine of the pitch."""

    def hint(r: Rolled) -> np.ndarray:
        return high * np.minimum(r.qpos[..., 1], height) + upright * np.cos(r.qpos[..., 2])

    return hint


# Who runs swings the limbs to and fro, and swinging them fro and to is as good: the few best plans are followed, of many bold ones.
# RK4 would cost most of the time and changes little within a plan.
_CHEETAH = PlannerConfig(horizon=16, knots=9, samples=30, elites=3, iterations=3, replan=1, std=1.5, least_std=0.4)
_WALKER = PlannerConfig(
    horizon=24, step=4, stretch=2, integrator="implicitfast", knots=9, samples=30, elites=4, replan=3, std=0.7, least_std=0.15
)
_HOPPER = replace(_WALKER, horizon=30, std=0.6, least_std=0.12)
_HUMANOID = replace(_WALKER, step=2, knots=7, iterations=3, replan=2, std=1.0, least_std=0.2)

# Seconds are those of a planned step. Gymnasium rewards the speed of the humanoid's centre of mass, here it is the torso's; what contact
# costs no pose tells.
RECIPES = {
    "cheetah": Recipe(runner(0.05, 0.1), _stand(-0.1, 6.0, 2.0), 0.0, _CHEETAH),
    "walker": Recipe(runner(0.032, 1e-3, 1.0, walker_well), _stand(1.2, 4.0, 4.0), 1.25, _WALKER),
    "hopper": Recipe(runner(0.032, 1e-3, 1.0, hopper_well), _stand(1.2, 1.0, 12.0), 1.25, _HOPPER),
    "humanoid": Recipe(runner(0.03, 0.1, 5.0, _humanoid_well, weight=1.25), _stand(1.3, 5.0, 2.0), 1.4, _HUMANOID),
}
