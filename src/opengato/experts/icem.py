"""iCEM: planning by sampling coloured noise on the simulator itself (Pinneri et al. 2020), over `mujoco.rollout`.

Demonstrations are for cloning, so the planner aims at actions that are nearly a function of the state: the plan is a line through a few
points, it is shifted and refined rather than made anew, what is done is the mean of the elites, the spread of the samples shrinks while
the plan holds good, and the samples come in mirrored pairs from noise that stays the same all episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from opengato.experts.kinematics import Poses


@dataclass(frozen=True)
class Rolled:
    """N plans rolled out for T steps. States are those after each step; sensors are one physics step older, as MuJoCo computes them."""

    qpos: np.ndarray  # (N, T, nq)
    qvel: np.ndarray  # (N, T, nv)
    actions: np.ndarray  # (N, T, nu), in the actuators' units
    sensors: np.ndarray  # (N, T, nsensordata)
    model: Any  # mujoco.MjModel
    start: np.ndarray  # (nq,), the pose before the first step

    @cached_property
    def at(self) -> Poses:
        """Where things are in each state; as new as the states."""
        return Poses(self.model, self.qpos)

    def sensor(self, name: str) -> np.ndarray:
        """(N, T, its length) of one named sensor."""
        sensor = self.model.sensor(name)
        return self.sensors[..., sensor.adr[0] : sensor.adr[0] + sensor.dim[0]]


# Rewards (N, T) of rolled out plans, maybe shaped where the task's own are sparse.
Reward = Callable[[Rolled], np.ndarray]


@dataclass(frozen=True)
class PlannerConfig:
    """How far and how hard to look.

    Attributes:
        horizon: planned steps.
        step: control steps a planned step.
        stretch: physics steps of the environment in one of the planning model's; divides the physics steps of a planned step.
        integrator: the planning model's, a name of `mujoco.mjtIntegrator` as "implicitfast"; "": the environment's. RK4 takes four times
            as long as the others.
        knots: points of the plan; actions between them lie on straight lines.
        samples, elites, iterations: of the cross-entropy method.
        replan: control steps between two plans, as long as the environment is played as advised.
        std: spread of a fresh plan's samples, as a share of half the action range. least_std: where it stops shrinking.
        colour: exponent of the noise's spectrum along the knots, 0 is white.
        momentum: share of the old mean and spread that an iteration keeps.
        action_cost, change_cost: taken from a step's reward per squared action and squared change from knot to knot (actions scaled to ±1).
    """

    horizon: int = 40
    step: int = 1
    stretch: int = 1
    integrator: str = ""
    knots: int = 8
    samples: int = 24
    elites: int = 6
    iterations: int = 2
    replan: int = 2
    std: float = 0.5
    least_std: float = 0.1
    colour: float = 1.0
    momentum: float = 0.1
    action_cost: float = 0.01
    change_cost: float = 0.01


def coloured_noise(shape: tuple[int, int, int], exponent: float, rng: np.random.Generator) -> np.ndarray:
    """(N, T, nu) noise of unit variance whose power falls as 1/f^exponent along T."""
    n, t, nu = shape
    if exponent == 0 or t < 3:
        return rng.standard_normal(shape)
    frequency = np.fft.rfftfreq(t)
    frequency[0] = frequency[1]
    scale = frequency ** (-exponent / 2)
    real, imaginary = rng.standard_normal((2, n, nu, len(scale)))
    noise = np.fft.irfft((real + 1j * imaginary) * scale, t, axis=-1).transpose(0, 2, 1)
    # The spectrum's own variance: normalising each sample instead would make every plan equally loud.
    weight = np.full(len(scale), 2.0)
    weight[0] = 1.0
    if t % 2 == 0:
        weight[-1] = 1.0
    power = (weight * scale**2 * np.where(weight == 1.0, 1.0, 2.0)).sum() / t**2
    return noise / np.sqrt(power)


def _between(positions: np.ndarray, knots: int) -> np.ndarray:
    """(len(positions), knots) weights that interpolate knots linearly; before the first and after the last they hold."""
    positions = np.clip(positions, 0, knots - 1)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(knots)))


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

        if substeps * config.step % config.stretch:
            raise ValueError(f"stretch {config.stretch} does not divide the {substeps * config.step} physics steps of a planned step")
        self._mujoco = mujoco
        self.model, self.substeps, self.reward, self.config = copy.deepcopy(model), substeps, reward, config
        self._coarse = self.model
        if config.stretch > 1 or config.integrator:
            self._coarse = copy.deepcopy(model)
            self._coarse.opt.timestep *= config.stretch
        if config.integrator:
            self._coarse.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{config.integrator.upper()}")
        self._data = mujoco.MjData(self.model)
        self._rollout = rollout.Rollout(nthread=0)  # in this thread: collection runs one process a core
        self._spec = mujoco.mjtState.mjSTATE_FULLPHYSICS
        self._state = np.empty(mujoco.mj_stateSize(self.model, self._spec))

        nu = self.model.nu
        limited = self.model.actuator_ctrllimited.astype(bool)
        low, high = self.model.actuator_ctrlrange.T
        low, high = np.where(limited, low, -1.0), np.where(limited, high, 1.0)
        self._middle, self._half = (low + high) / 2, (high - low) / 2

        # Plans are kept scaled to ±1, as knots this many control steps apart.
        self._spacing = config.horizon * config.step / (config.knots - 1)
        self._weights = _between((np.arange(config.horizon) + 0.5) * config.step / self._spacing, config.knots)
        rng = np.random.default_rng(seed)
        noise = coloured_noise((config.iterations * (config.samples // 2), config.knots, nu), config.colour, rng)
        self._noise = np.stack([noise, -noise], 1).reshape(config.iterations, -1, config.knots, nu)

        self.mean = np.zeros((config.knots, nu))
        self._std = np.full((config.knots, nu), config.std)
        self._elites = np.zeros((0, config.knots, nu))
        self._planned_at = -np.inf  # simulated seconds
        self._advised: tuple[int, np.ndarray] | None = None  # control steps since the plan, and what was advised

    def _roll(self, model: Any, physics_steps: int, state: np.ndarray, actions: np.ndarray, warmstart: np.ndarray | None) -> Rolled:
        states, sensors = self._rollout.rollout(
            model, self._data, state[None], np.repeat(actions, physics_steps, axis=1), initial_warmstart=warmstart
        )
        states, sensors = states[:, physics_steps - 1 :: physics_steps], sensors[:, physics_steps - 1 :: physics_steps]
        nq, nv = model.nq, model.nv
        return Rolled(states[..., 1 : 1 + nq], states[..., 1 + nq : 1 + nq + nv], actions, sensors, model, state[1 : 1 + nq])

    def simulate(self, state: np.ndarray, actions: np.ndarray, warmstart: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What the environment would do, exactly: N action sequences (N, T, nu) rolled out from one full physics state.

        `warmstart` is its `qacc_warmstart` (nv,), which matters (by the solver's tolerance) where there are contacts or limits.
        Returns qpos (N, T, nq) and qvel (N, T, nv) after every control step.
        """
        rolled = self._roll(self.model, self.substeps, state, actions, None if warmstart is None else warmstart[None])
        return rolled.qpos, rolled.qvel

    def state_of(self, data: Any) -> np.ndarray:
        """The full physics state of an environment's mujoco.MjData."""
        self._mujoco.mj_getState(self.model, data, self._state, self._spec)
        return self._state.copy()

    def score(self, data: Any, plans: np.ndarray) -> np.ndarray:
        """Returns (N,) of plans (N, knots, nu), scaled to ±1, from the environment's state; one that makes the physics explode is worst."""
        config = self.config
        scaled = np.einsum("tk,nku->ntu", self._weights, plans)
        physics_steps = self.substeps * config.step // config.stretch
        rolled = self._roll(self._coarse, physics_steps, self.state_of(data), self._middle + self._half * scaled, data.qacc_warmstart[None])
        rewards = self.reward(rolled) - config.action_cost * np.square(scaled).mean(-1)
        change = config.change_cost * config.horizon * np.square(np.diff(plans, axis=1)).mean((1, 2))
        return np.where(np.isfinite(rewards), rewards, -1e3).sum(1) - change

    def _plan(self, data: Any) -> None:
        config = self.config
        for noise in self._noise:
            plans = np.clip(self.mean + self._std * noise, -1.0, 1.0)
            plans = np.concatenate([plans, self.mean[None], self._elites])
            self._elites = plans[np.argsort(-self.score(data, plans), kind="stable")[: config.elites]]
            self.mean = config.momentum * self.mean + (1 - config.momentum) * self._elites.mean(0)
            self._std = config.momentum * self._std + (1 - config.momentum) * self._elites.std(0)

    def _shift(self, control_steps: float) -> None:
        """Let time pass: the plan begins later. What it may want anew is found again by a wider search."""
        config = self.config
        moved = _between(np.arange(config.knots) + control_steps / self._spacing, config.knots)
        self.mean = moved @ self.mean
        self._elites = moved @ self._elites
        self._std = np.clip(1.5 * (moved @ self._std), config.least_std, config.std)

    def act(self, data: Any) -> np.ndarray:
        """The next action, (nu,) in the actuators' units, for an environment in this state, whether or not it was played as advised."""
        config, timestep = self.config, self.model.opt.timestep * self.substeps
        passed = (data.time - self._planned_at) / timestep
        done = passed if not np.isfinite(passed) else round(passed)
        if self._advised is not None:
            since, action = self._advised
            as_planned = 0 <= done - since <= 1 and (done == since or (np.abs(data.ctrl - action) <= 1e-5 * (1 + np.abs(action))).all())
        else:
            as_planned = False
        if not (as_planned and done < config.replan):
            if np.isfinite(done):
                self._shift(max(done, 0))
            self._plan(data)
            self._planned_at, done = data.time, 0
        scaled = (_between(np.array([done / self._spacing]), config.knots) @ self.mean)[0]
        action = self._middle + self._half * np.clip(scaled, -1.0, 1.0)
        self._advised = (int(done), action)
        return action.copy()
