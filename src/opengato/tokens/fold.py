"""Where each token of the paper's stream stands in a model's sequence.

The paper's model reads one token a position. The `swift-*` models fold: a timestep's observation is one position (the last one
also holds the separator), plus one for each further group of image patches, plus one for each observed word where the answer is text.
Then come the words of an answer but the last, which is folded into the next timestep's observation. Control actions take no position:
all numbers of an action stand one after the word or observation before them. Targets are the same tokens in both forms, each predicted
from the position before its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from opengato.tokens.vocabulary import ACTION_TEXT, IMAGE, IS_TARGET, WORD

_FEW = 512  # tokens whose positions are kept


@dataclass(frozen=True)
class Fold:
    """How to fold; `patches_per_position` 0 means the paper's form, one token a position."""

    patches_per_position: int = 0

    def positions(self, kinds: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The position of every token, and where every timestep starts.

        Args:
            kinds: uint8 (N,), offsets: int64 (T + 1,), as in `Encoded`; offsets[0] may be any start, kinds begins there.
        Returns:
            positions int64 (N,) counted from the first timestep, starts int64 (T + 1,). With folding, the last action tokens of the
            last timestep have position starts[T], the first of a timestep that may not be there.
        """
        offsets = offsets - offsets[0]
        n = len(kinds)
        if not self.patches_per_position:
            return np.arange(n), offsets
        if n <= _FEW:
            return _few_positions(self, kinds.tobytes(), offsets.tobytes())
        size = int(offsets[1])
        if size <= _FEW and n % size == 0 and n // size == len(offsets) - 1 and _are_alike(kinds.reshape(-1, size)):
            first, starts = _few_positions(self, kinds[:size].tobytes(), offsets[:2].tobytes())
            all_starts = np.arange(len(offsets)) * starts[1]
            return (all_starts[:-1, None] + first).ravel(), all_starts
        return self._positions(kinds, offsets)

    def sizes(self, kinds: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many positions each timestep takes, and which of them, counted from its first, is its first target's; int64 (T,) each.

        The same as `positions` says, from how many tokens the P parts of each timestep have instead of from the tokens.

        Args:
            kinds: uint8 (P,), of the parts in order, the last of them an action's.
            counts: int64 (T, P).
        """
        if not self.patches_per_position:
            return counts.sum(1), counts[:, kinds < IS_TARGET].sum(1)

        def tokens(kind: int) -> np.ndarray:
            found: np.ndarray = counts[:, kinds == kind].sum(1)
            return found

        observation = np.maximum(-(-tokens(IMAGE) // self.patches_per_position) - 1, 0) + tokens(WORD)
        answer = tokens(ACTION_TEXT) - (1 if kinds[-1] == ACTION_TEXT else 0)
        return observation + 1 + answer, observation + 1

    def _positions(self, kinds: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.diff(offsets)
        timestep = np.repeat(np.arange(len(counts)), counts)

        def per_timestep(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """How many tokens of the mask each timestep has, and each token's rank among them."""
            running = np.concatenate([[0], np.cumsum(mask)])
            total = running[offsets[1:]] - running[offsets[:-1]]
            return total, running[:-1] - running[offsets[:-1]][timestep]

        is_action = kinds >= IS_TARGET
        images, image_rank = per_timestep(kinds == IMAGE)
        word = kinds == WORD
        words, word_rank = per_timestep(word)
        _, answer_rank = per_timestep(kinds == ACTION_TEXT)
        groups = np.maximum(-(-images // self.patches_per_position) - 1, 0)  # besides the one that shares the observation's position
        observation = groups + words  # index of the observation's own position inside the timestep
        # A timestep reaches up to where its last token is predicted from: an action, wherever there is one.
        last = np.maximum(offsets[1:] - 1, 0)
        lengths = observation + 1 + np.where(is_action[last], answer_rank[last], 0)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        inside = observation[timestep]
        group = image_rank // self.patches_per_position
        inside = np.where((kinds == IMAGE) & (group < groups[timestep]), group, inside)
        inside = np.where(word, groups[timestep] + word_rank, inside)
        inside = np.where(is_action, observation[timestep] + 1 + answer_rank, inside)
        return starts[:-1][timestep] + inside, starts


def _are_alike(rows: np.ndarray) -> bool:
    """Whether all rows are equal, as the kinds of the timesteps of most tasks are."""
    return bool((rows[1:] == rows[0]).all())


@lru_cache(maxsize=1024)
def _few_positions(fold: Fold, kinds: bytes, offsets: bytes) -> tuple[np.ndarray, np.ndarray]:
    """`Fold.positions` of few tokens, kept: an acting agent asks for the same ones in each step. Not to be written to."""
    known = fold._positions(np.frombuffer(kinds, np.uint8), np.frombuffer(offsets, np.int64))
    for array in known:
        array.flags.writeable = False
    return known


PAPER = Fold(0)
