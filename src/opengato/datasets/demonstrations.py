"""Which episode of a dataset shows best what is to be done."""

from __future__ import annotations

import numpy as np

from opengato.datasets.store import TokenDataset
from opengato.tokens.encode import Encoded
from opengato.tokens.vocabulary import ACTION_TEXT


def best_demonstration(data: TokenDataset, validation_share: float = 0.0) -> Encoded | None:
    """The episode with the highest return; of alike ones that of middle length.

    It is none of the validation, see `TokenDataset.in_validation`, nor a relabelled one, whose return is not its labels'. None where no
    other is there, and for a task whose actions are words.
    """
    if any(field.kind == ACTION_TEXT for field in data.layout.action):
        return None
    shown = np.flatnonzero(~data.in_validation(validation_share) & ~data.relabelled)
    if not len(shown):
        return None
    returns = data.returns[shown]
    best = shown[np.argmax(returns)]
    if np.ptp(returns) == 0:  # no rewards, say
        best = shown[np.argsort(np.diff(data.episodes)[shown], kind="stable")[len(shown) // 2]]
    return data.gather(np.arange(data.episodes[best], data.episodes[best + 1]))
