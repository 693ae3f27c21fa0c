"""Meta-World: fifty tasks of one robot arm, solved by the scripted policies it ships with, one of them repaired."""

from __future__ import annotations

import copy
import warnings
from functools import cache, lru_cache, partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Expert, Task

# Meta-World's own limit is 500 steps; its experts succeed after about 81, so that most of a canonical episode is holding still.
HORIZON, CANONICAL_HORIZON = 200, 500

OBSERVATION_SPACE = spaces.Box(-np.inf, np.inf, (39,), np.float64)
ACTION_SPACE = spaces.Box(-1.0, 1.0, (4,), np.float32)

NAMES = """assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press button-press-wall
coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open door-unlock hand-insert drawer-close drawer-open
faucet-open faucet-close hammer handle-press-side handle-press handle-pull-side handle-pull lever-pull peg-insert-side pick-place-wall
pick-out-of-hole reach push-back push pick-place plate-slide plate-slide-side plate-slide-back plate-slide-back-side peg-unplug-side soccer
stick-push stick-pull push-wall reach-wall shelf-place sweep-into sweep window-open window-close""".split()


@lru_cache(maxsize=4)
def _compiled(path: str) -> Any:
    import mujoco

    return mujoco.MjModel.from_xml_path(path)


@cache
def _class_of(name: str) -> Any:
    """Meta-World's environment of a task, which copies its compiled model where the process has it: that is most of making one."""
    import mujoco
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    class Environment(ALL_V3_ENVIRONMENTS[f"{name}-v3"]):  # type: ignore[misc]
        def _initialize_simulation(self) -> tuple[Any, Any]:
            model = copy.copy(_compiled(self.fullpath))
            screen = model.vis.global_
            screen.offwidth, screen.offheight = max(screen.offwidth, self.width), max(screen.offheight, self.height)
            return model, mujoco.MjData(model)

    return Environment


class MetaWorld(gym.Env):
    """One task with its goal observed; reset's seed draws the positions of goal and objects.

    `info["success"]` is 1 where the task was solved at any step so far, as Meta-World counts it.

    Args:
        horizon: steps after which an episode is truncated.
        stop: end it where the task is first solved, after which its success cannot change.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, name: str, horizon: int = HORIZON, stop: bool = False):
        import os

        os.environ.setdefault("MUJOCO_GL", "egl")
        import mujoco

        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE
        env: Any = _class_of(name)(render_mode="rgb_array", camera_name="corner2", width=240, height=240)
        # What Meta-World's own goal-observable environments set: goals are seen, and drawn anew at every reset.
        env._partially_observable, env._freeze_rand_vec, env._set_task_called, env.seeded_rand_vec = False, False, True, True
        env.__dict__.pop("sawyer_observation_space", None)  # cached with a goal clipped to zero
        self.inner, self.horizon, self.stop = env, horizon, stop
        self._shadow, self._reflection = int(mujoco.mjtRndFlag.mjRND_SHADOW), int(mujoco.mjtRndFlag.mjRND_REFLECTION)
        self._steps, self._solved = 0, False

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.inner.seed(seed)
        observation, info = self.inner.reset()
        self._steps, self._solved = 0, False
        return np.asarray(observation, np.float64), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, _, _, info = self.inner.step(np.asarray(action, np.float32))
        self._steps += 1
        self._solved |= bool(info["success"])
        over = self.stop and self._solved
        truncated = not over and self._steps >= self.horizon
        return np.asarray(observation, np.float64), float(reward), over, truncated, {**info, "success": self._solved}

    def render(self) -> np.ndarray:
        frame = self.inner.render()
        flags = self.inner.mujoco_renderer.viewer.scn.flags
        if flags[self._shadow] or flags[self._reflection]:  # they cost most of a software renderer's time
            flags[self._shadow] = flags[self._reflection] = 0
            frame = self.inner.render()
        return np.ascontiguousarray(frame[::-1])  # the camera is mounted upside down

    def close(self) -> None:
        self.inner.close()


def _start(env: gym.Env) -> dict[str, np.ndarray]:
    """Where everything is, and the drawn positions of goal and objects, some of which move the world itself."""
    world: Any = env.unwrapped
    return {"positions": world.inner.data.qpos, "velocities": world.inner.data.qvel, "drawn": world.inner._last_rand_vec}


class Scripted:
    """The scripted policy of a task: a function of the observation alone."""

    def __init__(self, name: str):
        from metaworld.policies import ENV_POLICY_MAP

        warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high")  # its own policies overshoot; `act` clips
        self._policy: Any = dict[str, Any](ENV_POLICY_MAP)[f"{name}-v3"]()

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        """Nothing is kept between steps."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        # Of a copy: those of door-close and door-open move the door in the array that they are given.
        return np.clip(self._policy.get_action(observation.copy()), -1.0, 1.0).astype(np.float32)


class WindowOpener:
    """Opens the window by its handle and stays there.

    The bundled policy pushes far below the handle and past the end, comes back for the handle and drags the window shut, so that agents
    had twice its return.
    """

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        """Nothing is kept between steps."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        hand, handle, goal = observation[:3], observation[4:7], observation[36:39]
        beside = handle + np.array([-0.03, -0.03, 0.0])
        opened = handle[0] > goal[0] - 0.045  # 0.05 is a success
        if np.linalg.norm(hand[:2] - beside[:2]) > 0.04:
            aim = beside + np.array([0.0, 0.0, 0.3])
        elif opened or abs(hand[2] - beside[2]) > 0.04:
            aim = beside
        else:
            aim = beside + np.array([0.1, 0.0, 0.0])
        return np.append(25.0 * (aim - hand), 1.0).clip(-1.0, 1.0).astype(np.float32)


def _make_expert(name: str) -> Expert:
    return WindowOpener() if name == "window-open" else Scripted(name)


TASKS = [
    Task(
        id=f"metaworld/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(MetaWorld, name),
        make_canonical=partial(MetaWorld, name, CANONICAL_HORIZON, stop=True),
        make_expert=partial(_make_expert, name),
        requires="metaworld",
        extra="metaworld",
        expert_name="scripted" if name == "window-open" else "Meta-World's scripted policy",
        has_success=True,
        start=_start,
    )
    for name in NAMES
]
