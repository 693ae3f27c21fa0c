"""Any registered Gymnasium id: `gym/CartPole-v1`, or with the package that registers it `gym/minigrid:MiniGrid-Empty-5x5-v0`.

After the id, with commas before them, may stand `max_steps=N`, which an environment without a registered time limit needs, and
`wrapper=NAME`, as often as one likes, innermost first: a wrapper of `gymnasium.wrappers`, or one of another module as `module:Name`, that
takes nothing but the environment: `gym/minigrid:MiniGrid-Empty-5x5-v0,max_steps=100,wrapper=minigrid.wrappers:ImgObsWrapper`.

The spaces are those of the environment, which is made once to read them. There is no expert and no reference score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Task
from opengato.errors import OpenGatoError
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space

TASKS: list[Task] = []  # as many as are registered, and as packages that are not imported would register
_PREFIX = "gym/"


@dataclass(frozen=True)
class _Named:
    """A task's id in its parts. `module`: that registers the environment, "" where Gymnasium itself does."""

    task_id: str
    module: str
    env_id: str
    max_steps: int | None
    wrappers: tuple[str, ...]


def find_task(task_id: str) -> Task:
    """The task of "gym/…"; raises OpenGatoError where it cannot be made, has no time limit, or a space of it has no tokens."""
    return _find(_parse(task_id))


def _parse(task_id: str) -> _Named:
    name, *options = task_id.removeprefix(_PREFIX).split(",")
    module, _, env_id = name.rpartition(":")
    max_steps, wrappers = None, []
    for option in options:
        key, _, value = option.partition("=")
        if key == "max_steps" and value.isdecimal() and int(value) > 0:
            max_steps = int(value)
        elif key == "wrapper" and value:
            wrappers.append(value)
        else:
            raise OpenGatoError(f"task {task_id!r} has the option {option!r}: use max_steps=N, 1 or more, and wrapper=NAME")
    return _Named(task_id, module, env_id, max_steps, tuple(wrappers))


@cache
def _find(named: _Named) -> Task:
    try:
        env = _make(named)
    except OpenGatoError:
        raise
    except Exception as error:  # whatever importing and making an environment raises
        reason = " ".join(str(error).split())
        raise OpenGatoError(f"task {named.task_id!r} cannot be made: {type(error).__name__}: {reason}") from error
    try:
        Layout(env.observation_space, env.action_space)
    except OpenGatoError as error:
        raise OpenGatoError(f"task {named.task_id!r}: {error}, for example by a wrapper: {named.task_id},wrapper=module:Name") from None
    finally:
        env.close()
    return Task(
        id=named.task_id,
        observation_space=env.observation_space,
        action_space=env.action_space,
        make_env=partial(_make, named),
        make_expert=None,
        requires=named.module.split(".")[0] or "gymnasium",
        extra="",
        expert_name="none",
        has_success=None,
    )


class _Declared(gym.Wrapper):
    """Declares text as text: some environments have a space of their own for their strings."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.observation_space, self.action_space = _as_text(env.observation_space), _as_text(env.action_space)


def _as_text(space: spaces.Space) -> spaces.Space:
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _as_text(part) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([_as_text(part) for part in space.spaces])
    if type(space).__module__.split(".")[0] != "gymnasium" and space.dtype is not None and np.dtype(space.dtype).kind == "U":
        return text_space()
    return space


def _make(named: _Named) -> gym.Env:
    if named.module:
        import_module(named.module)
    spec = gym.spec(named.env_id)
    if spec.max_episode_steps is None and named.max_steps is None:
        raise OpenGatoError(f"task {named.task_id!r} has no registered time limit: state one, as in {named.task_id},max_steps=1000")
    settings: dict[str, Any] = {"disable_env_checker": True}
    if named.max_steps is not None:
        settings["max_episode_steps"] = named.max_steps
    if "rgb_array" in _render_modes(spec):
        settings["render_mode"] = "rgb_array"
    env = gym.make(spec, **settings)
    for name in named.wrappers:
        env = _wrapper(named, name)(env)
    return _Declared(env)


def _render_modes(spec: Any) -> list[str]:
    """What an environment says that it can draw; of one that says nothing, nothing."""
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        module, name = creator.split(":")
        creator = getattr(import_module(module), name)
    return list(getattr(creator, "metadata", {}).get("render_modes", []))


def _wrapper(named: _Named, name: str) -> Any:
    module, _, attribute = name.rpartition(":")
    found = getattr(import_module(module or "gymnasium.wrappers"), attribute, None)
    if found is None:
        raise OpenGatoError(f"task {named.task_id!r} names the wrapper {name!r}, which {module or 'gymnasium.wrappers'} does not have")
    return found
