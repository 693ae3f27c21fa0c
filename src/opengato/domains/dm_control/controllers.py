"""Bodies simple enough for a feedback law: reachers, point masses, a pendulum, a cart with one pole.

Where a law is known it beats a plan: it returns more, costs microseconds a step, and as a function of what is seen, a network
can imitate it, which a plan drawn at random defies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.dm_control.environment import simulation
from opengato.experts import lqr

EXPERT_NAME = "feedback controller"

# The action (nu,) in the state that MuJoCo's data has now.
Law = Callable[[Any], np.ndarray]


class Controller:
    """A feedback law, made anew for the model of each episode.

    Args:
        design: the law for a mujoco.MjModel of so many physics steps a control step.
    """

    def __init__(self, design: Callable[[Any, int], Law]):
        self._design = design

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        model, self._data, substeps = simulation(env)
        self._law = self._design(model, substeps)

    def act(self, observation: Any) -> np.ndarray:
        return np.clip(self._law(self._data), -1.0, 1.0).astype(np.float32)


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def reacher(model: Any, substeps: int) -> Law:
    """A spring from finger to target, as torques of the two joints (the Jacobian's transpose), and a damper in each; nothing on the target.

    Turning both joints straight to a pose that inverse kinematics gives is as good, but which of the two poses is nearer changes at a
    stroke: of such a law a plain network's clone had half the return. And while the spring holds the finger where it is, most of what a
    clone is asked is the exact size of torques that change nothing: let go of there, it has more of the return after half of the training.
    """
    pull, drag = 400.0, 0.3  # of the highest torque, a square metre and a radian a second
    on_target = 0.66 * (model.geom("target").size[0] + model.geom("finger").size[0])

    def law(data: Any) -> np.ndarray:
        finger = data.geom("finger").xpos[:2]
        way = data.geom("target").xpos[:2] - finger
        if np.hypot(*way) < on_target:
            return np.zeros(2)
        levers = finger - np.stack([data.body("arm").xpos[:2], data.body("hand").xpos[:2]])
        return pull * (levers[:, 0] * way[1] - levers[:, 1] * way[0]) - drag * data.qvel

    return law


def point_mass(model: Any, substeps: int) -> Law:
    """A spring and a damper towards the target, whichever way the two controls pull in this episode."""
    pulls = model.wrap_prm[:4].reshape(2, 2)  # [control, axis]

    def law(data: Any) -> np.ndarray:
        way = data.geom("target").xpos[:2] - data.geom("pointmass").xpos[:2]
        return np.linalg.solve(pulls.T, 40.0 * way - 8.0 * data.qvel)

    return law


def _energy(inertia: float, weight: float, angle: float, speed: float) -> float:
    """Joules of a pole above those of one that stands; `weight` times the height of its centre is what it weighs, N·m."""
    return 0.5 * inertia * speed**2 + weight * (np.cos(angle) - 1.0)


def _pole(model: Any) -> tuple[float, float, float]:
    """Inertia about the hinge, kg·m², mass, kg, and how far its centre is from the hinge, m."""
    body = next(body for body in (model.body(i) for i in range(model.nbody)) if body.name.startswith("pole"))
    centre = float(np.linalg.norm(body.ipos))
    return float(body.inertia[0] + body.mass[0] * centre**2), float(body.mass[0]), centre


def pendulum(model: Any, substeps: int) -> Law:
    """Swing until there is the energy to stand (Åström and Furuta 2000), then hold it there by a regulator."""
    inertia, mass, centre = _pole(model)
    weight, hold = mass * centre * -model.opt.gravity[2], lqr.gain(model, substeps, np.zeros(1), np.ones(2), 1.0)[0]

    def law(data: Any) -> np.ndarray:
        angle, speed = _wrapped(data.qpos[0]), data.qvel[0]
        holding = -hold @ (angle, speed)
        if abs(angle) < 0.6 and abs(holding) < 1.5:
            return np.array([holding])
        missing = -_energy(inertia, weight, angle, speed)
        return np.array([np.clip(3.0 * missing, -1.0, 1.0) * (1.0 if speed >= 0 else -1.0)])

    return law


def cartpole(model: Any, substeps: int) -> Law:
    """The same two phases on a cart, whose acceleration is what swings the pole; the rail's middle draws it like a spring.

    The numbers were found by a random search for the highest return on the full model, of the sparse task too.
    """
    (inertia, mass, centre), gravity = _pole(model), -model.opt.gravity[2]
    cart, gear = float(model.body("cart").mass[0]), model.actuator_gear[0, 0]
    hold = lqr.gain(model, substeps, np.zeros(2), np.array([0.41, 5.0, 0.1, 0.1]), 0.95)[0]

    def law(data: Any) -> np.ndarray:
        (place, angle), (pace, speed) = data.qpos, data.qvel
        angle = _wrapped(angle)
        if abs(angle) < 1.16 and abs(speed) < 5.8:
            return np.array([-hold @ (place, angle, pace, speed)])
        energy = _energy(inertia, mass * centre * gravity, angle, speed)
        wanted = np.clip(144.0 * energy * speed * np.cos(angle), -24.0, 24.0) - 15.5 * place - 9.9 * pace
        turning = mass * centre * (gravity * np.sin(angle) - wanted * np.cos(angle)) / inertia
        force = (cart + mass) * wanted + mass * centre * (turning * np.cos(angle) - speed**2 * np.sin(angle))
        return np.array([force / gear])

    return law


DESIGNS: dict[tuple[str, str], Callable[[Any, int], Law]] = {
    **{("cartpole", task): cartpole for task in ("balance", "balance_sparse", "swingup", "swingup_sparse")},
    ("pendulum", "swingup"): pendulum,
    **{("point_mass", task): point_mass for task in ("easy", "hard")},
    **{("reacher", task): reacher for task in ("easy", "hard")},
}
