"""Which episode of a dataset shows best what is to be done."""

from __future__ import annotations

import numpy as np

from opengato.datasets.store import TokenDataset
from opengato.tokens.encode import Encoded
from opengato.tokens.vocabulary import ACTION_TEXT


def best_demonstration(data: TokenDataset, validation_share: float = 0.0) -> Encoded | None:
    """An episode of the better half by its return: where all are equally long the best, else that of middle length.

    Where time costs, as in BabyAI, the best of a thousand is one that was begun beside its goal, and shows nothing. It is none of the
    validation, see `TokenDataset.in_validation`, nor a relabelled one, whose return is not its labels'. None where no other is there, and
    for a task whose actions are words.
    """
    if any(field.kind == ACTION_TEXT for field in data.layout.action):
        return None
    shown = np.flatnonzero(~data.in_validation(validation_share) & ~data.relabelled)
    if not len(shown):
        return None
    returns = data.returns[shown]
    better = shown[returns >= np.median(returns)]  # all of them where there are no rewards
    lengths = np.diff(data.episodes)[better]
    best = better[np.argsort(lengths, kind="stable")[len(better) // 2]]
    if np.ptp(lengths) == 0 and np.ptp(returns) > 0:
        best = better[np.argmax(data.returns[better])]
    return data.gather(np.arange(data.episodes[best], data.episodes[best + 1]))
