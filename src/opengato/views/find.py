"""How a checkpoint best reads spaces that it has never seen: as that one of those it knows by which it foretells demonstrations best.

Every observed value must find a place. Which of the places that it may have are the right ones the network itself says, by the likelihood
of what was demonstrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.checkpoint import Checkpoint, read_config
from opengato.console import notice
from opengato.datasets.dataset import Dataset
from opengato.datasets.open import find_dataset
from opengato.datasets.reading import Reading
from opengato.layouts import is_new
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import to_json
from opengato.tokens.view import SYMBOLS, values_begin
from opengato.tokens.vocabulary import ACTION_DISCRETE, ACTION_TEXT, CONTINUOUS
from opengato.views.proposals import Moments, others
from opengato.views.search import ReadAs, Search
from opengato.views.shown import Shown

SAVED = 0.25  # of the nats of an action, by what is observed beside it: less may be chance, or a body that moves alike
REFINED = 3  # of the spaces that it knows, in how many every field is tried in all places


def find_view(agent: Checkpoint, dataset: Dataset) -> ReadAs | None:
    """The best reading of a dataset's observations as a space that the agent knows; None where there is none by which it foretells much.

    Deterministic. Some seconds of a core.
    """
    plain = Layout(dataset.observation_space, dataset.action_space)
    if any(one.kind == ACTION_TEXT for one in plain.action):
        return None
    alike = _alike(agent.layouts, plain)
    if not alike:
        return None  # before pictures are decoded
    shown = Shown.of(dataset)
    if not shown.count:
        return None
    moments = Moments.of(plain, shown.observations)
    found = []
    for like, known in alike.items():
        search = Search(agent, plain, like, known, shown, moments)
        if (first := search.first()) is not None:
            found.append((first, search))
    found.sort(key=lambda one: -one[0].saved)
    best = max((search.refined(first) for first, search in found[:REFINED]), key=lambda reading: reading.saved, default=None)
    return best if best is not None and best.saved >= SAVED else None


def find_views(folder: Path, names: Sequence[str], reading: Reading | None = None) -> dict[str, Layout]:
    """By the names of datasets, the layouts of those observed in spaces that a checkpoint does not know but can read as one that it does.

    Says what was found. What an earlier fine-tuning found is kept to.
    """
    known, agent = list(read_config(folder)["tasks"].values()), None
    found: dict[str, Layout] = {}
    for name in names:
        dataset = find_dataset(name, reading)
        if isinstance(dataset.action_space, spaces.Text):
            continue
        if not is_new(known, dataset.observation_space):
            observed = to_json(dataset.observation_space)
            before = next((one for one in known if one["observation_space"] == observed and "view" in one), None)
            if before is not None:
                layout = Layout.from_json(before)
                found[name] = Layout(dataset.observation_space, dataset.action_space, layout.statistics, layout.view)
            continue
        agent = agent or Checkpoint.load(folder)
        best = find_view(agent, dataset)
        if best is not None:
            found[name] = best.layout
            say(name, best)
    return found


def say(name: str, found: ReadAs) -> None:
    """Tell the user as what a dataset of this name is read, and why."""
    notice(
        f"{name}: observed in a space that the checkpoint does not know, and read as in {found.like}, by which it foretells the "
        f"demonstrated actions in {found.loss:.2f} nats in place of {found.chance:.2f} ({described(found.layout)})"
    )


def described(layout: Layout) -> str:
    """What of a layout's view is read as what, in runs of places."""
    assert layout.view is not None
    plain = Layout(layout.observation_space, layout.action_space)
    parts = [f"{source or 'observation'} as {path or 'observation'}" for path, source in layout.view.others.items()]
    for kinds, sources in (([CONTINUOUS], layout.view.numbers), (SYMBOLS, layout.view.symbols)):
        there = values_begin(layout.observation, kinds)
        for one, begin, count in values_begin(plain.observation, kinds):
            at = [int(place) for value in range(begin, begin + count) for place in np.flatnonzero(sources == value)]
            fields = [max((part for part in there if part[1] <= place), key=lambda part: part[1]) for place in at]
            names = [field.path or "observation" for field, _, _ in fields]
            begins = [place - first for place, (_, first, _) in zip(at, fields)]
            in_a_row = len(set(names)) == 1 and at == list(range(at[0], at[0] + len(at)))
            if kinds is SYMBOLS or (in_a_row and begins[0] == 0):
                read_as = names[0]
            else:
                read_as = f"{names[0]} from {begins[0]} on" if in_a_row else ", ".join(f"{n}[{k}]" for n, k in zip(names, begins))
            parts.append(f"{one.path or 'observation'} as {read_as}")
    return "; ".join(parts)


def _alike(layouts: Mapping[str, Layout], plain: Layout) -> dict[str, Layout]:
    """By a task of each, the different layouts of the agent with the actions of `plain`, and with words and pictures like those."""
    distinct: dict[int, str] = {}
    for task, layout in layouts.items():
        if layout.view is None and _choices(layout) == _choices(plain) and others(plain.observation, layout.observation) is not None:
            distinct.setdefault(id(layout), task)
    return {task: layouts[task] for task in distinct.values()}


def _choices(layout: Layout) -> list[Any]:
    """What can be chosen: of every field of the action its kind, how many numbers, and how many values each has, if so many."""
    sizes = [one.high.tolist() if one.kind == ACTION_DISCRETE and one.high is not None else None for one in layout.action]
    return [(one.kind, one.count, size) for one, size in zip(layout.action, sizes)]
