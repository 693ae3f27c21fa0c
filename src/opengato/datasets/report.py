"""What to know of datasets before training on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Dataset
from opengato.datasets.inferred import Inferred
from opengato.datasets.packed import Packed
from opengato.datasets.survey import Survey, survey


def survey_of(dataset: Dataset, root: Path | None = None) -> Survey:
    """The survey of any dataset, made where it is not remembered; `root`: cache folder, default: the user's."""
    if isinstance(dataset, Inferred):
        return dataset.survey
    return survey(dataset.name, dataset.fingerprint, dataset.episodes(), dataset.observation_space, dataset.action_space, root)


def has_numbers(dataset: Dataset) -> bool:
    """Whether a survey of it has anything to tell: numbers are observed, or its spaces are inferred from one; not of tokens alone."""
    return isinstance(dataset, Inferred) or (not isinstance(dataset, Packed) and any(_floats(dataset.observation_space)))


def warnings_of(dataset: Dataset, root: Path | None = None, in_bins: bool = True) -> list[str]:
    """What a training should be told, a sentence each; datasets in which no numbers are observed have nothing to tell, and are not read.

    in_bins: see `Survey.lines`.
    """
    if not has_numbers(dataset):
        return []
    said = survey_of(dataset, root).lines(in_bins)
    if isinstance(dataset, Inferred) and dataset.source.unused:
        said.append(f"not used: {'; '.join(f'{name} ({why})' for name, why in sorted(dataset.source.unused.items()))}")
    return said


def _floats(space: spaces.Space) -> Iterator[bool]:
    if isinstance(space, spaces.Dict):
        for sub in space.spaces.values():
            yield from _floats(sub)
    elif isinstance(space, spaces.Tuple):
        for sub in space.spaces:
            yield from _floats(sub)
    else:
        yield isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
