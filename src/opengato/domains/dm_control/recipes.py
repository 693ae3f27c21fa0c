"""How each task is planned: what is aimed at, and how far and how hard to look.

What has neither a recipe nor a controller has no expert; docs/bodies.md says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from opengato.domains.dm_control import hints, rewards
from opengato.experts.icem import PlannerConfig, Reward, Rolled


@dataclass(frozen=True)
class Recipe:
    """The reward and the hint that is added to it while planning, and the planner's settings."""

    reward: Reward
    hint: Callable[[Rolled], np.ndarray]
    planner: PlannerConfig

    def objective(self, rolled: Rolled) -> np.ndarray:
        """(N, T) that plans are compared by."""
        return self.reward(rolled) + self.hint(rolled)


_CMU = partial(rewards.humanoid, torso="thorax", up=1)

REWARDS: dict[tuple[str, str], Reward] = {
    ("acrobot", "swingup"): rewards.acrobot,
    ("acrobot", "swingup_sparse"): partial(rewards.acrobot, sparse=True),
    ("ball_in_cup", "catch"): rewards.ball_in_cup,
    **{("cartpole", task): rewards.cartpole for task in ("balance", "swingup", "two_poles", "three_poles")},
    **{("cartpole", task): rewards.cartpole_sparse for task in ("balance_sparse", "swingup_sparse")},
    ("cheetah", "run"): rewards.cheetah,
    ("dog", "stand"): rewards.dog_stand,
    **{("dog", task): partial(rewards.dog_move, speed=speed) for task, speed in (("walk", 1.0), ("trot", 3.0), ("run", 9.0))},
    ("dog", "fetch"): rewards.dog_fetch,
    ("finger", "spin"): rewards.finger_spin,
    **{("finger", task): rewards.finger_turn for task in ("turn_easy", "turn_hard")},
    ("fish", "upright"): rewards.fish_upright,
    ("fish", "swim"): rewards.fish_swim,
    ("hopper", "stand"): rewards.hopper_stand,
    ("hopper", "hop"): rewards.hopper_hop,
    ("humanoid", "stand"): rewards.humanoid,
    ("humanoid", "walk"): partial(rewards.humanoid, speed=1.0),
    **{("humanoid", task): partial(rewards.humanoid, speed=10.0) for task in ("run", "run_pure_state")},
    **{("humanoid_CMU", task): partial(_CMU, speed=speed) for task, speed in (("stand", 0.0), ("walk", 1.0), ("run", 10.0))},
    **{("manipulator", task): rewards.bring_ball for task in ("bring_ball", "insert_ball")},
    **{("manipulator", task): rewards.bring_peg for task in ("bring_peg", "insert_peg")},
    ("pendulum", "swingup"): rewards.pendulum,
    **{("point_mass", task): rewards.point_mass for task in ("easy", "hard")},
    ("quadruped", "walk"): partial(rewards.quadruped_move, speed=0.5),
    ("quadruped", "run"): partial(rewards.quadruped_move, speed=5.0),
    ("quadruped", "escape"): rewards.quadruped_escape,
    ("quadruped", "fetch"): rewards.quadruped_fetch,
    **{("reacher", task): rewards.reacher for task in ("easy", "hard")},
    ("stacker", "stack_2"): partial(rewards.stack, boxes=2),
    ("stacker", "stack_4"): partial(rewards.stack, boxes=4),
    **{("swimmer", task): rewards.swimmer for task in ("swimmer6", "swimmer15")},
    ("walker", "stand"): rewards.walker,
    ("walker", "walk"): partial(rewards.walker, speed=1.0),
    ("walker", "run"): partial(rewards.walker, speed=8.0),
}

_POLES = PlannerConfig(horizon=50, step=2, stretch=2, knots=11, samples=40, elites=6, replan=2, std=0.7)
_ACROBOT = PlannerConfig(horizon=90, step=2, stretch=2, knots=15, samples=60, elites=8, replan=4, std=1.0, action_cost=0.0)
_TURN = PlannerConfig(horizon=40, knots=8, samples=32, std=0.8)
# To flick a spinner takes hundredths of a second, and the mean of two good moments for it is none.
_FLICK = PlannerConfig(
    horizon=24, knots=12, samples=60, elites=2, replan=1, std=1.0, least_std=0.7, colour=0.5, momentum=0.0, action_cost=0.0, change_cost=0.0
)
_FISH = PlannerConfig(horizon=24, stretch=2, knots=8, samples=24)
# What wags to and fro gains as much by wagging fro and to: the mean of many good plans would lie still, so the best alone are followed.
_SWIM = PlannerConfig(
    horizon=40, stretch=2, knots=14, samples=30, elites=2, std=1.0, least_std=0.4, momentum=0.0, action_cost=0.0, change_cost=0.0
)
_HUMANOID = PlannerConfig(horizon=24, stretch=1, knots=5, samples=30, elites=6, std=0.4)
_QUADRUPED = PlannerConfig(horizon=30, stretch=2, knots=7, samples=24, std=0.5)

_PLANNED: dict[tuple[str, str], tuple[Callable[[Rolled], np.ndarray], PlannerConfig]] = {
    ("acrobot", "swingup"): (hints.acrobot, _ACROBOT),
    ("acrobot", "swingup_sparse"): (hints.acrobot, _ACROBOT),
    ("ball_in_cup", "catch"): (hints.ball_in_cup, PlannerConfig(samples=40, std=1.0)),
    ("cartpole", "two_poles"): (hints.cartpole_poles, _POLES),
    ("cheetah", "run"): (hints.nothing, PlannerConfig(horizon=30, knots=9, samples=30, std=0.7)),
    ("finger", "spin"): (hints.finger_spin, _FLICK),
    ("finger", "turn_easy"): (hints.finger_turn, _TURN),
    ("finger", "turn_hard"): (hints.finger_turn, _TURN),
    ("fish", "upright"): (hints.fish_upright, _FISH),
    ("fish", "swim"): (hints.fish_swim, _SWIM),
    ("hopper", "stand"): (hints.hopper_stand, PlannerConfig(horizon=30, knots=8, samples=30)),
    ("humanoid", "stand"): (hints.humanoid, _HUMANOID),
    ("humanoid", "walk"): (partial(hints.humanoid, speed=1.0), _HUMANOID),
    **{("humanoid", task): (partial(hints.humanoid, speed=10.0), _HUMANOID) for task in ("run", "run_pure_state")},
    ("quadruped", "walk"): (partial(hints.quadruped, speed=0.5), _QUADRUPED),
    ("quadruped", "run"): (partial(hints.quadruped, speed=5.0), _QUADRUPED),
    ("quadruped", "escape"): (hints.quadruped_escape, _QUADRUPED),
    ("quadruped", "fetch"): (hints.quadruped_fetch, _QUADRUPED),
    ("walker", "stand"): (hints.walker, PlannerConfig(horizon=24, knots=7, samples=24)),
    ("walker", "walk"): (hints.walker, PlannerConfig(horizon=24, knots=7, samples=30)),
    ("walker", "run"): (hints.walker, PlannerConfig(horizon=24, knots=9, samples=40)),
}

RECIPES: dict[tuple[str, str], Recipe] = {key: Recipe(REWARDS[key], hint, planner) for key, (hint, planner) in _PLANNED.items()}
