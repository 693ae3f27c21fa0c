"""Any dataset that is read, written in a format that others read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from opengato.datasets.dataset import Dataset
from opengato.datasets.lerobot_writer import write_lerobot
from opengato.datasets.minari import write_minari
from opengato.datasets.rate import rate_of
from opengato.domains.task import Task, dataset_id
from opengato.episode import Episode, Nested, map_leaves
from opengato.errors import OpenGatoError


def to_lerobot(dataset: Dataset, folder: Path, rate: float | None = None, video: bool = False) -> int:
    """Write a dataset as the LeRobotDataset in `folder`; returns how many episodes it has.

    Args:
        rate: control ticks a second; default: the dataset's own. video: see `write_lerobot`.

    Raises OpenGatoError where no rate is known, for actions in words, and for episodes that cannot be read.
    """
    rate = rate or rate_of(dataset)
    if not rate or rate <= 0:
        raise OpenGatoError(f"{dataset.name} does not say how many timesteps a second has, which a LeRobotDataset must: give --rate")
    return write_lerobot(folder, _loaded(dataset), dataset.task, dataset.observation_space, dataset.action_space, rate, video)


def to_minari(dataset: Dataset, root: Path, command: str = "") -> str:
    """Write a dataset as a Minari one below `root`, a folder of Minari datasets; returns its id.

    What was seen after the last action, which Minari wants and most formats lack, is the observation before it again.
    Raises OpenGatoError where the dataset is there already, and for episodes that cannot be read.
    """
    domain, _, name = dataset.task.partition("/")
    task = Task(f"{domain}/{name or 'unnamed'}", dataset.observation_space, dataset.action_space, _no_env, None, "", "", "unknown")
    folder = root.absolute() / dataset_id(task)
    if folder.exists():
        raise OpenGatoError(f"{folder} is there already: give another root")
    episodes = ((episode, map_leaves(_with_last, episode.observations)) for episode in _loaded(dataset))
    facts: dict[str, Any] = {"opengato_converted_from": dataset.name}
    if (rate := rate_of(dataset)) is not None:
        facts["opengato_rate"] = rate
    about = f"{dataset.task}: converted from {dataset.name.partition(':')[0]}."
    write_minari(task, folder, episodes, command=command, description=about, metadata=facts)
    return dataset_id(task)


def _loaded(dataset: Dataset) -> Iterator[Episode]:
    """Every episode with its leaves in memory; raises the first time that one cannot be read."""
    for number, episode in enumerate(dataset.episodes()):
        try:
            observations, actions = (
                map_leaves(lambda leaf: leaf if isinstance(leaf, list) else np.asarray(leaf), nested)
                for nested in (episode.observations, episode.actions)
            )
        except (OSError, ValueError) as error:
            raise OpenGatoError(f"episode {number} of {dataset.name} cannot be read: {error}") from None
        yield Episode(observations, actions, episode.rewards, episode.task, episode.source, episode.success, episode.seed, episode.info)


def _with_last(leaf: Any) -> Nested:
    return [*leaf, leaf[-1]] if isinstance(leaf, list) else np.concatenate([leaf, leaf[-1:]])


def _no_env() -> Any:
    raise OpenGatoError("a dataset is no environment that could be made")
