"""Train a baseline by the clock, with pauses in which it can be evaluated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from opengato.baselines.baseline import Baseline, Group, is_baseline
from opengato.baselines.lookup import Lookup
from opengato.baselines.networks import check_kind, check_task, make_network
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.console import progress
from opengato.datasets.open import open_datasets
from opengato.datasets.starts import starts_of
from opengato.datasets.store import TokenDataset
from opengato.errors import OpenGatoError
from opengato.mixture.sampling import shared_layouts
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

_CLIP = 1.0  # largest norm of a gradient


class _Training:
    """A group at school: its data, its optimiser, and what it has had of the time."""

    def __init__(self, kind: str, layout: Layout, datasets: list[TokenDataset], settings: Settings, tokenizer: TextTokenizer, seed: int):
        tasks = list(dict.fromkeys(data.task for data in datasets))
        self.pool = Pool(layout, datasets, tasks, tokenizer, settings)
        self.settings, self.rng, self.seconds, self.steps = settings, np.random.default_rng(seed), 0.0, 0
        torch.manual_seed(seed)
        network = make_network(kind, self.pool.features, self.pool.targets, settings)
        self.group = Group(layout, tasks, self.pool.features, self.pool.targets, network)
        self.optimiser = None if isinstance(network, Lookup) else torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)

    def step(self, share: float) -> None:
        """One step at this share of the learning rate."""
        began = time.monotonic()
        network = self.group.network
        assert self.optimiser is not None and not isinstance(network, Lookup)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.settings.learning_rate * share
        self.optimiser.zero_grad(set_to_none=True)
        network.loss(self.pool, self.rng).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        self.optimiser.step()
        self.steps += 1
        self.seconds += time.monotonic() - began


def train_baseline(
    kind: str,
    datasets: Sequence[TokenDataset],
    seconds: float,
    seed: int = 0,
    folder: Path | None = None,
    *,
    settings: Settings | None = None,
    pauses: Sequence[float] = (),
    paused: Callable[[float, Baseline], None] | None = None,
    show: bool = True,
) -> Baseline:
    """Train a baseline on datasets, and keep it in a folder.

    Tasks of the same spaces share a network; networks of several spaces share the time equally. No episode is left out. The clock runs
    while networks learn, not while data is read or in pauses. A lookup does not learn: it is ready at once.

    Args:
        kind: mlp, gru, cnn or lookup.
        datasets: as `open_dataset` gives them, with the shipped tokenizer.
        seconds: of learning, over which the learning rate falls to 0, so that an agent of a pause is not what so long a training gives.
        seed: of the weights and the order of the data.
        folder: where it is written at the end; None keeps it in memory.
        pauses: seconds of learning after which `paused` is called with what has been learned for and the agent, which acts, can be saved,
            and goes on learning afterwards. The end is a pause only where it is named.
        show: a progress line.

    Raises:
        OpenGatoError: for a kind that is unknown, or does not see or do what a task has, or `seconds` below 0.
    """
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    settings = settings or Settings()
    check_kind(kind)
    if seconds <= 0 or not datasets:
        raise OpenGatoError(f"seconds is {seconds:g} and there are {len(datasets)} datasets: give a baseline some of each")
    if late := [pause for pause in pauses if not 0 < pause <= seconds]:
        raise OpenGatoError(f"pauses has {late[0]:g}: name seconds above 0 and up to {seconds:g}, as long as it trains")
    for data in datasets:
        check_task(kind, data.task, data.layout)
    tokenizer = TextTokenizer.load()
    layouts = shared_layouts(list(datasets), {})
    by_spaces: dict[str, list[TokenDataset]] = {}
    for data in sorted(datasets, key=lambda data: data.task):
        by_spaces.setdefault(str(data.layout.spaces_json()), []).append(data)
    schools = [_Training(kind, layouts[found[0].task], found, settings, tokenizer, seed) for found in by_spaces.values()]
    baseline = Baseline(kind, settings, [school.group for school in schools], tokenizer, starts=starts_of(datasets))
    waiting = sorted(pauses)

    def pause() -> None:
        for school in schools:
            school.group.network.eval()
        facts = {"seconds": seconds, "learned_for": spent, "seed": seed, "steps": [school.steps for school in schools]}
        baseline.facts = facts | {"datasets": {data.task: data.fingerprint for data in datasets}}
        while waiting and spent >= waiting[0]:
            waiting.pop(0)
            if paused is not None:
                paused(spent, baseline)
        for school in schools:
            school.group.network.train()

    spent = 0.0
    if kind == "lookup":
        for school in schools:
            assert isinstance(school.group.network, Lookup)
            school.group.network.learn(school.pool)
        spent = seconds
    columns = (TextColumn(f"training {kind}"), BarColumn(), TextColumn("{task.fields[steps]} steps"), TimeRemainingColumn())
    with progress(*columns, show=show) as line:
        bar = line.add_task("", total=seconds, steps=0)
        while spent < seconds:
            min(schools, key=lambda school: school.seconds).step(1 - spent / seconds)
            spent = min(sum(school.seconds for school in schools), seconds)
            line.update(bar, completed=spent, steps=sum(school.steps for school in schools))
            if waiting and spent >= waiting[0]:
                pause()
    pause()
    for school in schools:
        school.group.network.eval()
    if folder is not None:
        baseline.save(folder)
    return baseline


def train_or_load(
    folder: Path,
    kind: str,
    names: Sequence[str],
    seconds: float,
    seed: int,
    settings: Settings,
    root: Path | None = None,
    show: bool = True,
) -> Baseline:
    """The baseline in a folder where it is the one asked for, or else a new one, trained and kept there.

    Args:
        names: of datasets, see `open_dataset`; none where the folder holds a baseline. root: of Minari datasets.

    Raises:
        OpenGatoError: where the folder holds something else, or nothing while no dataset is named.
    """
    if (folder / "config.json").is_file():
        raise OpenGatoError(f"{folder} holds a checkpoint: name another folder for the baseline {kind}, or leave --baseline out")
    check_kind(kind)
    tokenizer = TextTokenizer.load()
    datasets = open_datasets(list(names), tokenizer, root)
    if not is_baseline(folder):
        if not datasets:
            raise OpenGatoError(f"{folder} holds no baseline yet and data is empty: name datasets to train it on with --data")
        return train_baseline(kind, datasets, seconds, seed, folder, settings=settings, show=show)
    baseline = Baseline.load(folder)
    asked = {"kind": kind, "seconds": seconds, "seed": seed, "settings": settings}
    has = {"kind": baseline.kind, "seconds": baseline.facts["seconds"], "seed": baseline.facts["seed"], "settings": baseline.settings}
    if datasets:
        asked["datasets"], has["datasets"] = {data.task: data.fingerprint for data in datasets}, baseline.facts["datasets"]
    if differ := [name for name in asked if asked[name] != has[name]]:
        raise OpenGatoError(
            f"the baseline in {folder} has another {differ[0]} than was asked for: name another folder or leave --baseline out"
        )
    return baseline
