"""iCEM: planning by sampling coloured noise on the simulator itself (Pinneri et al. 2020), over `mujoco.rollout`.

Between one control step and the next the plan is shifted and refined, not made anew, and the action is the mean of the elites: what comes
out is close to a function of the state, which is what behaviour cloning can learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# (qpos (N, T, nq), qvel (N, T, nv), actions (N, T, nu)) -> rewards (N, T), maybe shaped where the task's own are sparse.
Reward = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PlannerConfig:
    """How far and how hard to look.

    Attributes:
        horizon: control steps. hold: control steps an action of the plan lasts.
        samples, elites, iterations: of the cross-entropy method. replan: control steps between two plans.
        std: of the first iteration's noise, as a share of half the action range. colour: exponent of the noise's spectrum, 0 is white.
        momentum: share of the old mean that an iteration keeps.
    """

    horizon: int = 40
    hold: int = 4
    samples: int = 32
    elites: int = 6
    iterations: int = 2
    replan: int = 1
    std: float = 0.5
    colour: float = 1.0
    momentum: float = 0.1
    action_cost: float = 0.01


def coloured_noise(shape: tuple[int, int, int], exponent: float, rng: np.random.Generator) -> np.ndarray:
    """(N, T, nu) noise of unit variance whose power falls as 1/f^exponent along T."""
    n, t, nu = shape
    if exponent == 0 or t < 3:
        return rng.standard_normal(shape)
    frequency = np.fft.rfftfreq(t)
    frequency[0] = frequency[1]
    scale = frequency ** (-exponent / 2)
    spectrum = (rng.standard_normal((n, nu, len(scale))) + 1j * rng.standard_normal((n, nu, len(scale)))) * scale
    noise = np.fft.irfft(spectrum, t, axis=-1).transpose(0, 2, 1)
    return noise / np.maximum(noise.std(axis=1, keepdims=True), 1e-6)


class Planner:
    """Plans on a copy of the environment's model; the environment is read, never touched.

    Args:
        model: mujoco.MjModel, copied in memory (a copy through XML loses fields such as settotalmass).
        substeps: physics steps a control step. reward: see `Reward`.
    """

    def __init__(self, model: Any, substeps: int, reward: Reward, config: PlannerConfig, seed: int):
        import copy

        import mujoco
        from mujoco import rollout

        self._mujoco = mujoco
        self.model, self.substeps, self.reward, self.config = copy.deepcopy(model), substeps, reward, config
        self._data = mujoco.MjData(self.model)
        self._rollout = rollout.Rollout(nthread=0)
        self._spec = mujoco.mjtState.mjSTATE_FULLPHYSICS
        self.rng = np.random.default_rng(seed)
        low, high = self.model.actuator_ctrlrange.T
        limited = self.model.actuator_ctrllimited.astype(bool)
        self.low, self.high = np.where(limited, low, -1.0), np.where(limited, high, 1.0)
        self.knots = -(-config.horizon // config.hold)
        self.mean = np.zeros((self.knots, self.model.nu))
        self._elites: np.ndarray | None = None
        self._since_shift = 0
        self._queue: list[np.ndarray] = []

    def simulate(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Roll N action sequences (N, T, nu) out from one full physics state: qpos (N, T, nq), qvel (N, T, nv) after every control step."""
        n = len(actions)
        control = np.repeat(actions, self.substeps, axis=1)
        states, _ = self._rollout.rollout(self.model, self._data, np.broadcast_to(state, (n, len(state))), control)
        states = states[:, self.substeps - 1 :: self.substeps]
        nq, nv = self.model.nq, self.model.nv
        return states[:, :, 1 : 1 + nq], states[:, :, 1 + nq : 1 + nq + nv]

    def state_of(self, data: Any) -> np.ndarray:
        """The full physics state of an environment's mujoco.MjData."""
        state = np.empty(self._mujoco.mj_stateSize(self.model, self._spec))
        self._mujoco.mj_getState(self.model, data, state, self._spec)
        return state

    def _evaluate(self, state: np.ndarray, plans: np.ndarray) -> np.ndarray:
        actions = np.repeat(plans, self.config.hold, axis=1)[:, : self.config.horizon]
        qpos, qvel = self.simulate(state, actions)
        scaled = (actions - (self.low + self.high) / 2) / ((self.high - self.low) / 2)
        rewards = self.reward(qpos, qvel, actions) - self.config.action_cost * np.square(scaled).mean(-1)
        return np.where(np.isfinite(rewards), rewards, -1e3).sum(1)

    def act(self, data: Any) -> np.ndarray:
        """The next action, (nu,), for an environment in this state."""
        config = self.config
        if self._queue:
            return self._queue.pop(0)
        state = self.state_of(data)
        self._since_shift += config.replan
        if self._since_shift >= config.hold:  # a knot has passed
            self._since_shift -= config.hold
            self.mean = np.concatenate([self.mean[1:], self.mean[-1:]])
            if self._elites is not None:
                self._elites = np.concatenate([self._elites[:, 1:], self._elites[:, -1:]], axis=1)
        half = (self.high - self.low) / 2
        std = np.full_like(self.mean, config.std) * half
        for _ in range(config.iterations):
            noise = coloured_noise((config.samples, self.knots, len(half)), config.colour, self.rng)
            plans = np.clip(self.mean + std * noise, self.low, self.high)
            plans = np.concatenate([plans, self.mean[None], *([self._elites] if self._elites is not None else [])])
            scores = self._evaluate(state, plans)
            self._elites = plans[np.argsort(-scores)[: config.elites]]
            self.mean = config.momentum * self.mean + (1 - config.momentum) * self._elites.mean(0)
            std = config.momentum * std + (1 - config.momentum) * self._elites.std(0)
        action = self.mean[0]
        self._queue = [action.copy() for _ in range(config.replan - 1)]
        return action.copy()
