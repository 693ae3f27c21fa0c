"""Timesteps without what their layout says of them all: what is worth storing.

Which kinds of tokens a timestep has, in which order, where in it each stands and where the separator is, follows from the layout and, where
it has texts, from their lengths. Pictures stay whole, to be compressed as such, and are cut into patches when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opengato.episode import Episode
from opengato.tokens.encode import Encoded, local_positions, of_task, parts_of, places_of
from opengato.tokens.fields import Field
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import IMAGE, PATCH, SEPARATOR, SEPARATOR_KIND


@dataclass
class Compact:
    """T timesteps of a layout with F text fields.

    Attributes:
        tokens: uint16 (N,), as in `Encoded`, but for separators and pictures.
        lengths: uint32 (T, F), how many tokens each text has, its end token included.
        frames: of every image field, uint8 (T, H, W, C).
    """

    tokens: np.ndarray
    lengths: np.ndarray
    frames: list[np.ndarray]


def compact(layout: Layout, episode: Episode, tokenizer: TextTokenizer) -> Compact:
    """What to store of an episode; raises as `encode` does."""
    with of_task(episode):
        parts, frames = parts_of(layout, tokenizer, episode.observations, episode.actions, len(episode))
    stored = [(flat, counts) for flat, counts, kind in parts if kind not in (IMAGE, SEPARATOR_KIND)]
    tokens = np.empty(sum(len(flat) for flat, _ in stored), np.uint16)
    _, _, _, places = places_of([0] * len(stored), np.stack([counts for _, counts in stored]))
    for (flat, _), where in zip(stored, places):
        tokens[where] = flat
    texts = [parts[part][1] for part in Form(layout).texts]
    return Compact(tokens, np.stack(texts, 1).astype(np.uint32) if texts else np.zeros((len(episode), 0), np.uint32), frames)


@dataclass(frozen=True)
class _Template:
    """The N tokens of one timestep, of which `stored`, bool (N,), are not known: tokens, kinds and local as in `Encoded`."""

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    stored: np.ndarray


_TEMPLATES = 256  # lengths of texts whose templates a form keeps: an instruction is the same in all of its episode


class Form:
    """What a layout says of all its timesteps.

    Attributes:
        kinds: uint8 (P,), of the P parts of a timestep in order: its observation's fields, the separator, its action's fields.
        counts: int64 (P,), how many tokens each has, 0 for texts. texts: int64 (F,), which of them are texts.
        images: the image fields, of `patches` patches a timestep in all.
    """

    def __init__(self, layout: Layout):
        parts: list[Field | None] = [*layout.observation, None, *layout.action]
        self.kinds = np.array([SEPARATOR_KIND if part is None else part.kind for part in parts], np.uint8)
        self.counts = np.array([1 if part is None else part.count or 0 for part in parts], np.int64)
        self.texts = np.flatnonzero([part is not None and part.count is None for part in parts])
        self.images = [field for field in layout.observation if field.kind == IMAGE]
        self.patches = sum(field.count or 0 for field in self.images)
        self._fixed = int(self.counts[is_stored(self.kinds)].sum())
        self._templates: dict[bytes, _Template] = {}

    def parts(self, lengths: np.ndarray) -> np.ndarray:
        """How many tokens each part has, int64 (T, P), given the lengths of the texts, (T, F); (1, P) where all timesteps are alike."""
        if not len(self.texts):
            return self.counts[None]
        counts = np.repeat(self.counts[None], len(lengths), 0)
        counts[:, self.texts] = lengths
        return counts

    def stored(self, lengths: np.ndarray) -> np.ndarray:
        """How many tokens of each timestep are stored, int64 (T,), or (1,) where all are alike."""
        return self._fixed + lengths.sum(1, dtype=np.int64) if len(self.texts) else np.array([self._fixed])

    def expand(self, tokens: np.ndarray, lengths: np.ndarray, patches: np.ndarray, boxes: np.ndarray) -> Encoded:
        """The inverse of `compact`.

        Args:
            tokens, lengths: as in `Compact`, of T > 0 timesteps. patches, boxes: of their pictures, see `encode.cut`, or none.
        """
        count = len(lengths)
        if not len(self.texts) or (lengths == lengths[:1]).all():
            template = self._template(lengths[:1])
            whole = np.tile(template.tokens, (count, 1))
            whole[:, template.stored] = tokens.reshape(count, -1)
            offsets = np.arange(count + 1) * len(template.kinds)
            return Encoded(whole.ravel(), np.tile(template.kinds, count), np.tile(template.local, count), offsets, patches, boxes)
        whole, kinds, local, offsets = self._timesteps(self.parts(lengths))
        whole[is_stored(kinds)] = tokens
        return Encoded(whole, kinds, local, offsets, patches, boxes)

    def _template(self, lengths: np.ndarray) -> _Template:
        found = self._templates.get(key := lengths.tobytes())
        if found is None:
            tokens, kinds, local, _ = self._timesteps(self.parts(lengths))
            found = _Template(tokens, kinds, local, is_stored(kinds))
            if len(self._templates) >= _TEMPLATES:
                self._templates.pop(next(iter(self._templates)))
            self._templates[key] = found
        return found

    def _timesteps(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Tokens as far as they are known, kinds, local and offsets of timesteps whose parts have so many tokens, (T, P)."""
        kinds = np.repeat(np.tile(self.kinds, len(counts)), counts.ravel())
        offsets = np.concatenate([[0], np.cumsum(counts.sum(1))])
        tokens = np.full(len(kinds), SEPARATOR, np.int32)
        tokens[kinds == IMAGE] = PATCH
        return tokens, kinds, local_positions(kinds, offsets), offsets


def is_stored(kinds: np.ndarray) -> np.ndarray:
    """Which tokens of these kinds are in `Compact.tokens`."""
    stored: np.ndarray = (kinds != IMAGE) & (kinds != SEPARATOR_KIND)
    return stored
