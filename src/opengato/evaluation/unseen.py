"""Tasks that an agent was not trained on (paper, section 5.2), and demonstrations to act after that are not its checkpoint's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.datasets.demonstrations import best_demonstration
from opengato.datasets.open import find_dataset, open_datasets
from opengato.datasets.reading import Reading
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.datasets.viewed import Viewed
from opengato.domains import Task
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import Agent, Introduction
from opengato.layouts import known_layout, new_layout, same_observed
from opengato.model.prompt import crop_prompt
from opengato.tokens.spaces import differences, to_json
from opengato.views.find import find_view, say


def introduce(agent: Agent, tasks: Sequence[Task], demonstrations: Sequence[str] = (), root: Path | None = None) -> dict[str, Introduction]:
    """What an agent must be told of tasks before it can act in them: of those it was not trained on, and of those with demonstrations.

    What is observed in a space that it does not know is read as one that it does, where it foretells the demonstrations so (`find_view`).

    Args:
        demonstrations: Minari datasets, by id or folder; of each the best episode is read before every episode of its task. One that was
            not recorded at any of the tasks goes to the only one that has its spaces.
        root: the folder of the datasets; default: Minari's own.

    Returns:
        task id -> introduction; a baseline cannot be told anything.

    Raises:
        OpenGatoError: for a space without a layout, for unbounded actions that no demonstration shows, and for demonstrations of no task.
    """
    if not isinstance(agent, Checkpoint):
        if demonstrations:
            raise OpenGatoError(f"demonstrations are {', '.join(demonstrations)}, but the agent is a {agent.kind}, which reads none")
        return {}
    shown = _by_task(tasks, open_datasets(list(demonstrations), agent.tokenizer, root), demonstrations)
    found = {}
    for task in tasks:
        (data, name), known = shown.get(task.id, (None, "")), task.id in agent.layouts
        if known and data is None:
            continue
        if known:
            layout = known_layout(agent.layouts, task.id, task.observation_space, task.action_space)
        else:
            seen = data.layout.statistics if data is not None else None
            layout = new_layout(agent.layouts, task.id, task.observation_space, task.action_space, seen, demonstrated=data is not None)
            if data is not None and same_observed(agent.layouts, task.observation_space) is None:
                best = find_view(agent, source := find_dataset(name, Reading(root)))
                if best is not None:
                    say(name, best)
                    layout, data = best.layout, tokenise(Viewed(source, best.layout), agent.tokenizer)
        prompt = crop_prompt(best_demonstration(data), agent.model.config) if data is not None else None
        found[task.id] = Introduction(layout, prompt, data is not None)
    return found


def settings_of_introductions(introductions: Mapping[str, Introduction]) -> dict[str, str]:
    """What episodes depend on beyond the agent's files: the demonstrations given. Empty where there are none."""
    digest = hashlib.blake2b(digest_size=16)
    shown = {task: one for task, one in sorted(introductions.items()) if one.demonstrated}
    for task, one in shown.items():
        digest.update(json.dumps([task, one.layout.to_json()], sort_keys=True).encode())
        if one.prompt is not None:
            for array in (one.prompt.tokens, one.prompt.offsets, one.prompt.patches):
                digest.update(np.ascontiguousarray(array).data)
    return {"demonstrations": digest.hexdigest()} if shown else {}


def _by_task(tasks: Sequence[Task], datasets: Sequence[TokenDataset], names: Sequence[str]) -> dict[str, tuple[TokenDataset, str]]:
    """Of every task that has demonstrations, these and their name."""
    found: dict[str, tuple[TokenDataset, str]] = {}
    for data, name in zip(datasets, names, strict=True):
        named = [task for task in tasks if task.id == data.task]
        alike = named or [task for task in tasks if not any(_unlike(task, data).values())]
        if len(alike) != 1:
            raise OpenGatoError(_no_single_task(tasks, data, alike))
        (task,) = alike
        for side, lines in _unlike(task, data).items():
            if lines:
                raise OpenGatoError(f"the {side} space of the demonstrations of {data.task!r} is not the task's: {'; '.join(lines)}")
        if task.id in found:
            raise OpenGatoError(f"two datasets have demonstrations of task {task.id!r}: give one")
        found[task.id] = data, name
    return found


def _unlike(task: Task, data: TokenDataset) -> dict[str, list[str]]:
    """Where a dataset's spaces differ from a task's, by side."""
    described = data.layout.spaces_json()
    wanted = {"observation": task.observation_space, "action": task.action_space}
    return {side: differences(to_json(space), described[f"{side}_space"], owner="the task") for side, space in wanted.items()}


def _no_single_task(tasks: Sequence[Task], data: TokenDataset, alike: Sequence[Task]) -> str:
    if alike:
        names = ", ".join(task.id for task in alike)
        return f"the demonstrations of {data.task!r} fit {names}: evaluate the one that they are of by itself"
    names = ", ".join(task.id for task in tasks)
    return f"the demonstrations of {data.task!r} are of no task that is evaluated, nor are its spaces one's: name it beside {names}"
