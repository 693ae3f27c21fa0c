"""The n-th training sequence, as a pure function of (seed, n).

A counter-based generator draws the domain by weight, then task, episode, window and prompt, until L positions are filled. Resuming
needs one integer; any worker or rank can build any sequence.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from opengato.datasets.cache import TokenDataset
from opengato.errors import OpenGatoError
from opengato.tokens.encode import Encoded
from opengato.tokens.fold import Fold
from opengato.tokens.image import random_positions
from opengato.tokens.vocabulary import IMAGE, IS_TARGET, SEPARATOR_KIND


@dataclass
class Sequence:
    """L positions holding the tokens of several windows; N tokens, P patches.

    Attributes:
        tokens int64 (N,), kinds uint8 (N,), local int64 (N,), positions int64 (N,): in order of position.
        predicted: bool (N,), whether the token is a target (it is then predicted from position - 1).
        segments: int64 (L,), the window each position belongs to, -1 for padding.
        index: int64 (L,), position inside its window.
        patches uint8 (P, 16, 16, 3), patch_rows, patch_columns int64 (P,).
        domain: index of the domain. timesteps: how many the sequence holds.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    positions: np.ndarray
    predicted: np.ndarray
    segments: np.ndarray
    index: np.ndarray
    patches: np.ndarray
    patch_rows: np.ndarray
    patch_columns: np.ndarray
    domain: int
    timesteps: int


class _Source:
    """One dataset with what sampling needs: the kept episodes, and running positions of every timestep."""

    def __init__(self, data: TokenDataset, fold: Fold, length: int, threshold: float, expert_return: float | None):
        self.data = data
        keep = np.ones(len(data), bool)
        if expert_return is not None and threshold > 0:
            # A share of a negative return lies below it.
            keep = data.returns >= (threshold * expert_return if expert_return >= 0 else expert_return / threshold)
            if not keep.any():
                raise OpenGatoError(
                    f"no episode of task {data.task!r} reaches {threshold:.0%} of the expert return {expert_return:.4g}: "
                    "collect better ones or lower --mixture.return-threshold"
                )
        _, self.starts = fold.positions(np.asarray(data.kinds), data.offsets)
        timesteps = np.diff(self.starts)
        longest = np.maximum.reduceat(timesteps, data.episodes[:-1])
        # A text that is one timestep is cut where a sequence ends; of anything else a timestep must fit whole.
        fits = (longest <= length) | (np.diff(data.episodes) == 1)
        if not (keep & fits).any():
            raise OpenGatoError(
                f"a timestep of task {data.task!r} takes {longest.max()} positions, more than the context of {length}: use a preset with a "
                "longer context or smaller observations"
            )
        if left_out := int((keep & ~fits).sum()):
            print(
                f"{data.task}: {left_out} of {len(data)} episodes have a timestep longer than the context, {length}: left out",
                file=sys.stderr,
            )
        self.kept = np.flatnonzero(keep & fits)
        self.cumulative = np.cumsum(np.diff(data.episodes)[self.kept])
        self.partners = {s: self.kept[data.sources[self.kept] == s] for s in np.unique(data.sources[self.kept])}


@dataclass
class _Piece:
    """Timesteps [start, stop) of a source in a sequence, from position `base`, and before them the last `head` tokens of start - 1."""

    source: _Source
    start: int
    stop: int
    base: int
    segment: int
    head: int = 0


class Mixture:
    """Packed training sequences over datasets grouped by domain.

    Args:
        datasets: tokenised datasets, one a task or several.
        weights: domain -> sample weight; domains with no dataset are an error, weights are normalised.
        length: L, positions a sequence.
        fold: the model family's form.
        seed: of the run.
        prompt_share: share of windows that get a prompt (paper: 0.25, half of them from the end of an episode).
        return_threshold, expert_returns: keep episodes with at least this share of the task's expert return (paper: 0.8).
    """

    def __init__(
        self,
        datasets: list[TokenDataset],
        weights: dict[str, float],
        length: int,
        fold: Fold,
        seed: int,
        prompt_share: float = 0.25,
        return_threshold: float = 0.0,
        expert_returns: dict[str, float] | None = None,
    ):
        missing = set(weights) - {d.domain for d in datasets}
        if missing:
            raise OpenGatoError(f"the mixture gives weight to {sorted(missing)}, of which there is no data: collect it or leave it out")
        self.length, self.fold, self.seed, self.prompt_share = length, fold, seed, prompt_share
        self.domains = sorted(weights)
        total = sum(weights.values())
        self.cumulative_weights = np.cumsum([weights[d] / total for d in self.domains])
        expert_returns = expert_returns or {}
        self.sources = [
            [_Source(d, fold, length, return_threshold, expert_returns.get(d.task)) for d in datasets if d.domain == domain]
            for domain in self.domains
        ]

    def sequence(self, n: int) -> Sequence:
        """The n-th sequence of the run."""
        pieces, domain, rng = self._pieces(n)
        return self._assemble(pieces, domain, rng)

    def describe(self, n: int) -> list[dict[str, Any]]:
        """What the n-th sequence is made of, window by window: task, episode, and first and last timestep inside it."""
        out = []
        for piece in self._pieces(n)[0]:
            source, start, stop = piece.source, piece.start, piece.stop
            episode = int(np.searchsorted(source.data.episodes, start, side="right")) - 1
            first = int(source.data.episodes[episode])
            out.append({"task": source.data.task, "episode": episode, "timesteps": [start - first, stop - 1 - first]})
        return out

    def _pieces(self, n: int) -> tuple[list[_Piece], int, np.random.Generator]:
        """The windows of the n-th sequence, its domain, and the generator after them."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, n]))
        domain = int(np.searchsorted(self.cumulative_weights, rng.random(), side="right"))
        domain = min(domain, len(self.domains) - 1)
        pieces: list[_Piece] = []
        filled, segment, tries = 0, 0, 0
        while filled < self.length and tries < 4:
            source = self.sources[domain][rng.integers(len(self.sources[domain]))]
            windows = self._draw(source, rng, self.length - filled)
            if not windows:
                tries += 1
                continue
            for start, stop in windows:
                pieces.append(_Piece(source, start, stop, filled, segment))
                filled += int(source.starts[stop] - source.starts[start])
            filled, segment = min(filled, self.length), segment + 1
        if filled < self.length and not self.fold.patches_per_position:
            self._fill(pieces, self.length - filled)
        return pieces, domain, rng

    def _fill(self, pieces: list[_Piece], room: int) -> None:
        """Where positions are left, let windows of the paper's form begin inside a timestep, as a memory of so many tokens does."""
        for number, piece in reversed(list(enumerate(pieces))):
            begins = number == 0 or pieces[number - 1].segment != piece.segment
            starts, episodes = piece.source.starts, piece.source.data.episodes
            if room and begins and episodes[np.searchsorted(episodes, piece.start)] != piece.start:
                # Not a whole timestep: its action would be a target that is never predicted.
                piece.head = min(room, int(starts[piece.start] - starts[piece.start - 1]) - 1)
                room -= piece.head
                for later in pieces[number + 1 :]:
                    later.base += piece.head

    def _draw(self, source: _Source, rng: np.random.Generator, budget: int) -> list[tuple[int, int]]:
        """A window, perhaps with a prompt before it: [(start, stop)] in timesteps of the dataset; empty where nothing fits."""
        data = source.data
        pick = int(np.searchsorted(source.cumulative, rng.integers(source.cumulative[-1]), side="right"))
        episode = int(source.kept[pick])
        if rng.random() < self.prompt_share:
            partners = source.partners[data.sources[episode]]
            other = int(partners[rng.integers(len(partners))])
            if other == episode and len(partners) > 1:
                other = int(partners[(np.searchsorted(partners, other) + 1) % len(partners)])
            prompt = self._window(source, other, budget // 2, rng, at_end=rng.random() < 0.5)
            used = int(source.starts[prompt[1]] - source.starts[prompt[0]]) if prompt else budget
            window = self._window(source, episode, budget - used, rng) if used < budget else None
            if prompt and window:
                return [prompt, window]
        window = self._window(source, episode, budget, rng)
        return [window] if window else []

    def _window(self, source: _Source, episode: int, budget: int, rng: np.random.Generator, at_end: bool = False) -> tuple[int, int] | None:
        first, last = int(source.data.episodes[episode]), int(source.data.episodes[episode + 1])
        starts = source.starts
        if starts[last] - starts[first] <= budget:
            return first, last
        # The last start from which the rest of the episode still fits.
        latest = int(np.searchsorted(starts, starts[last] - budget, side="left"))
        if latest >= last:  # not even the last timestep fits: text is cut inside it, anything else is not drawn
            single = last - first == 1
            return (first, last) if single and budget >= min(self.length // 4, 64) else None
        if at_end:
            return latest, last
        # Starts before the episode count as its start, so that the beginning is seen with an empty context often enough.
        span = latest - first
        overhang = max(1, min((last - first) // 8, 16))
        start = first + max(0, int(rng.integers(-overhang, span + 1)))
        stop = int(np.searchsorted(starts, starts[start] + budget, side="right")) - 1
        return (start, stop) if stop > start else None

    def _assemble(self, pieces: list[_Piece], domain: int, rng: np.random.Generator) -> Sequence:
        columns: list[list[np.ndarray]] = [[], [], [], [], []]
        segments, index = np.full(self.length, -1, np.int64), np.zeros(self.length, np.int64)
        patches, boxes = [], []
        timesteps = 0
        began: dict[int, int] = {}
        for piece in pieces:
            window = piece.source.data.timesteps(piece.start, piece.stop)
            if piece.head:
                window = _with_tail(piece.source.data.timesteps(piece.start - 1, piece.stop), piece.head)
            base, segment = piece.base, piece.segment
            positions, starts = self.fold.positions(window.kinds, window.offsets)
            tokens, kinds, local = window.tokens.astype(np.int64), np.asarray(window.kinds), window.local.astype(np.int64)
            room = self.length - base
            if starts[-1] > room:  # one long text: keep what it answers to, and a random run of its words
                cut = int(starts[-1] - room)
                head = int(np.flatnonzero(kinds >= IS_TARGET)[0])
                skip = int(rng.integers(0, cut + 1))
                keep = np.ones(len(tokens), bool)
                keep[head : head + skip] = False
                tokens, kinds, local = tokens[keep], kinds[keep], local[keep]
                positions = self.fold.positions(kinds, np.array([0, len(kinds)]))[0]
            predicted = kinds >= IS_TARGET
            predicted[: piece.head] = False  # what it was decided from is cut off
            first = began.setdefault(segment, base)
            end = min(base + int(starts[-1]), self.length)
            # The folded last action of a window joins the next timestep only where that follows in the same segment.
            dangling = positions + base >= end
            for column, values in zip(columns, (tokens, kinds, local, positions + base, predicted)):
                column.append(values)
            segments[base:end] = segment
            index[base:end] = np.arange(base, end) - first
            columns[4][-1] = predicted
            keep_targets = positions + base <= end
            if dangling.any() and not keep_targets.all():
                for column in columns:
                    column[-1] = column[-1][keep_targets]
            patches.append(window.patches)
            boxes.append(window.boxes)
            timesteps += piece.stop - piece.start
        tokens, kinds, local, positions, predicted = (np.concatenate(c) for c in columns)
        if boxes and sum(map(len, boxes)):
            placed = random_positions(np.concatenate(boxes), rng)
            all_patches = np.concatenate(patches)
        else:
            placed, all_patches = np.zeros((0, 2), np.int64), np.zeros((0, 16, 16, 3), np.uint8)
        assert int((kinds == IMAGE).sum()) == len(all_patches)
        assert SEPARATOR_KIND < IS_TARGET
        return Sequence(
            tokens, kinds, local, positions, predicted, segments, index, all_patches, placed[:, 0], placed[:, 1], domain, timesteps
        )


def _with_tail(window: Encoded, tail: int) -> Encoded:
    """The window without the beginning of its first timestep, of which the last `tail` tokens stay."""
    cut = int(window.offsets[1] - window.offsets[0]) - tail
    patches = int((window.kinds[:cut] == IMAGE).sum())
    offsets = np.concatenate([[window.offsets[0] + cut], window.offsets[1:]])
    return Encoded(window.tokens[cut:], window.kinds[cut:], window.local[cut:], offsets, window.patches[patches:], window.boxes[patches:])
