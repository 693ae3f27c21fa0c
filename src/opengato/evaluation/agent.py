"""Whatever can be evaluated: checkpoints and baselines, and how they act."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from opengato.baselines.baseline import FILES, Baseline, is_baseline
from opengato.checkpoint import Checkpoint, checkpoint_files
from opengato.domains import Task
from opengato.errors import OpenGatoError
from opengato.model.precision import Precision, convert
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout

Agent = Checkpoint | Baseline

# Products with fewer rows are computed by other kernels, which round differently; with more, a row is the same whatever the others are
# (MKL on x86). An agent that has two actions equally likely to the last digit would choose by who runs beside it.
LEAST_ROWS = 4


@dataclass(frozen=True)
class Introduction:
    """What an agent is told of a task (evaluation/unseen.py): its layout, what it reads before it acts, whether it was demonstrated."""

    layout: Layout
    prompt: Encoded | None
    demonstrated: bool


class Actor(Protocol):
    """Agents of one task beside one another, in slots."""

    def reset(self, slot: int, seed: int) -> None:
        """Start an episode in a slot; `seed` is of its sampling."""

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        """Observations by slot to `steps` actions in a row by slot, to be taken before the next observation."""


class _EngineActor:
    """A checkpoint at one task, each of its episodes after the same prompt."""

    def __init__(self, checkpoint: Checkpoint, task: Task, slots: int, temperature: float | None, prompt: bool):
        self._layout = checkpoint.layout(task.id, task.observation_space, task.action_space)
        self._before = crop_prompt(checkpoint.prompts.get(task.id), checkpoint.model.config) if prompt else None
        self._engine = Engine(checkpoint.model, checkpoint.tokenizer, slots, temperature=temperature)

    def reset(self, slot: int, seed: int) -> None:
        self._engine.reset(slot, self._layout, self._before, seed)

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        return self._engine.plan(observations, steps)


def make_actor(agent: Agent, task: Task, slots: int, temperature: float | None = None, prompt: bool = True) -> Actor:
    """An agent at a task, in this many slots.

    Args:
        temperature: of the actions; None: the agent's own choice. prompt: start from a checkpoint's demonstration; a baseline reads none.

    Raises:
        OpenGatoError: where the agent does not know the task, or knows other spaces of it.
    """
    if isinstance(agent, Checkpoint):
        return _EngineActor(agent, task, slots, temperature, prompt)
    agent.layout(task.id, task.observation_space, task.action_space)
    return agent.actor(task.id, slots, temperature)


def introduced(agent: Agent, introductions: Mapping[str, Introduction]) -> Agent:
    """The agent, told of tasks; a demonstration takes the place of the checkpoint's own."""
    if not introductions:
        return agent
    assert isinstance(agent, Checkpoint)
    prompts = {task: one.prompt for task, one in introductions.items() if one.prompt is not None}
    layouts = {task: one.layout for task, one in introductions.items()}
    return replace(agent, layouts={**agent.layouts, **layouts}, prompts={**agent.prompts, **prompts})


class Steady:
    """An actor of so many slots, in each of which an agent acts the same whatever runs in the others.

    Slots beside theirs make up the least rows, and those that have just begun act by themselves: their prompts are of more positions than
    the others' observations, and a product might round otherwise. Arguments as in `make_actor`; `steps`: actions from one look.
    """

    def __init__(self, agent: Agent, task: Task, slots: int, temperature: float | None = None, prompt: bool = True, steps: int = 1):
        # They see what another sees, and nobody looks at what they do.
        self._shadows = range(slots, slots + LEAST_ROWS - 1)
        self._actor = make_actor(agent, task, slots + len(self._shadows), temperature, prompt)
        self._fresh: set[int] = set()
        self._steps = steps
        self._planned: dict[int, deque[Any]] = {}

    def reset(self, slot: int, seed: int) -> None:
        self._actor.reset(slot, seed)
        self._fresh.add(slot)
        self._planned.pop(slot, None)

    def act(self, observations: dict[int, Any]) -> dict[int, Any]:
        """Observations by slot to actions by slot; those of slots that have planned their next actions are not looked at."""
        looking = {slot: seen for slot, seen in observations.items() if not self._planned.get(slot)}
        self._planned |= {slot: deque(actions) for slot, actions in self._look(looking).items()}
        return {slot: self._planned[slot].popleft() for slot in observations}

    def _look(self, observations: dict[int, Any]) -> dict[int, list[Any]]:
        actions: dict[int, list[Any]] = {}
        if going_on := {slot: seen for slot, seen in observations.items() if slot not in self._fresh}:
            actions |= self._together(going_on, self._shadows[: max(0, LEAST_ROWS - len(going_on))])
        if fresh := {slot: seen for slot, seen in observations.items() if slot in self._fresh}:
            for shadow in self._shadows:
                self._actor.reset(shadow, 0)
            actions |= self._together(fresh, self._shadows)
            self._fresh -= set(fresh)
        return actions

    def _together(self, observations: dict[int, Any], shadows: range) -> dict[int, list[Any]]:
        """The actions of slots that have as many new positions each."""
        actions = self._actor.plan({**observations, **dict.fromkeys(shadows, next(iter(observations.values())))}, self._steps)
        return {slot: actions[slot] for slot in observations}


def load_agent(folder: Path, precision: Precision = "float32") -> Agent:
    """What a folder holds. Raises OpenGatoError where that is no agent, or a baseline in another precision than float32 is asked for."""
    if is_baseline(folder):
        if precision != "float32":
            raise OpenGatoError(f"precision is {precision}, but {folder} holds a baseline, which acts in float32: leave it out")
        return Baseline.load(folder)
    checkpoint = Checkpoint.load(folder)
    convert(checkpoint.model, precision)
    return checkpoint


def agent_files(folder: Path) -> list[Path]:
    """The files of an agent, all that must travel with it."""
    return [folder / name for name in FILES] if is_baseline(folder) else checkpoint_files(folder)
