"""How many timesteps a second a dataset has, where it says so: what a robot that is moved as it shows must be moved at."""

from __future__ import annotations

from opengato.datasets.dataset import Dataset
from opengato.datasets.inferred import Inferred
from opengato.datasets.lerobot import LeRobotFolder
from opengato.datasets.minari import MinariEpisodes
from opengato.datasets.viewed import Viewed


def rate_of(dataset: Dataset) -> float | None:
    """Control ticks a second; None where nobody knows."""
    if isinstance(dataset, Viewed):
        return rate_of(dataset.source)
    if isinstance(dataset, Inferred) and isinstance(dataset.source, LeRobotFolder):
        return dataset.source.rate
    if isinstance(dataset, MinariEpisodes) and "opengato_rate" in dataset.metadata:
        return float(dataset.metadata["opengato_rate"])
    return None
