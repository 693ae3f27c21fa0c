"""Tokenised episodes of one task, read from the token store: memory-mapped, so that only what is drawn is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from opengato.datasets.index import Index
from opengato.datasets.pictures import decompress
from opengato.datasets.shards import Shards
from opengato.episode import is_relabelled
from opengato.tokens.compact import Form
from opengato.tokens.encode import NO_PATCHES, Encoded, ranges
from opengato.tokens.image import as_pictures, patch_boxes, to_patches
from opengato.tokens.layout import Layout
from opengato.tokens.offsets import Offsets
from opengato.tokens.statistics import Statistics
from opengato.tokens.vocabulary import PATCH_SIZE


class TokenDataset:
    """The tokens of E episodes of one task, with T timesteps in all.

    Attributes:
        task: the task's id. domain: its first part. name, fingerprint: see `Dataset`. skipped: samples that could not be read.
        layout: the task's layout, with the statistics of this data. form: what it says of all timesteps.
        episodes int64 (E + 1,): the first timestep of every episode. returns float64 (E,).
        sources int64 (E,): index of the agent in `source_names`.
        relabelled bool (E,): whether a student acted and an expert labelled: such episodes are neither prompts nor judged by return.
        starts uint64 (E,): the hash of the full starting state where the recorder left one, else of the first observation.
        contents uint64 (E,): the hash of all that an episode holds.
        rate: timesteps a second, where the dataset said so as it was opened.
    """

    rate: float | None = None

    def __init__(self, index: Index, shards: Shards):
        self.task, self.name, self.fingerprint, self.skipped = index.task, index.name, index.fingerprint, index.skipped
        self._segments, self._shards = index.segments, shards
        parts = [self._small(number) for number in range(len(index.segments))]
        self.episodes = np.concatenate([[0], np.cumsum(np.concatenate([part["episodes"] for part in parts]), dtype=np.int64)])
        self.returns, self.starts, self.contents = (np.concatenate([p[name] for p in parts]) for name in ("returns", "starts", "contents"))
        self.source_names = sorted({name for segment in index.segments for name in segment.sources})
        renumbered = [np.array([self.source_names.index(name) for name in segment.sources], np.int64) for segment in index.segments]
        self.sources = np.concatenate([numbers[part["sources"]] for numbers, part in zip(renumbered, parts)])
        self.relabelled = np.array([is_relabelled(name) for name in self.source_names], bool)[self.sources]
        moments = [Statistics(s.timesteps, part["mean"], part["products"]) for s, part in zip(index.segments, parts)]
        layout = Layout.from_json(index.spaces)
        self.layout = layout.with_statistics(Statistics.pool(moments)) if layout.numbers else layout
        self.form = Form(self.layout)
        self._bounds = np.concatenate([[0], np.cumsum([s.timesteps for s in index.segments])])
        self._picture_ends = np.array([s.first_picture + s.pictures for s in index.segments])
        self._offsets: dict[int, Offsets] = {}

    def _small(self, number: int) -> dict[str, np.ndarray]:
        """What is kept in memory of a segment."""
        names = ("episodes", "returns", "sources", "starts", "contents", "mean", "products")
        return {name: np.array(self._array(number, name)) for name in names}

    def _array(self, segment: int, name: str) -> np.ndarray:
        return self._shards.read(self._segments[segment].arrays[name])

    @property
    def domain(self) -> str:
        return self.task.split("/")[0]

    def __len__(self) -> int:
        return len(self.returns)

    @property
    def timesteps(self) -> int:
        """How many there are."""
        return int(self.episodes[-1])

    def in_validation(self, share: float) -> np.ndarray:
        """Which episodes, bool (E,), are of the `share` in [0, 1) that is kept from training to measure the loss on.

        An episode's own content decides, so that it stays where it is when others come or go, and copies of it stand on the same side.
        """
        if share <= 0:
            return np.zeros(len(self), bool)
        return self.contents < np.uint64(share * 2**64)

    @cached_property
    def sizes(self) -> Offsets:
        """Of every timestep, how many tokens it has, as running sums; nothing is kept where all have as many."""
        return Offsets(self.parts().sum(1), self.timesteps)

    def parts(self) -> np.ndarray:
        """How many tokens each part of every timestep has, int64 (T, P), see `Form`; (1, P) where all timesteps are alike."""
        texts = len(self.form.texts)
        lengths = [self._array(number, "lengths") for number in range(len(self._segments))] if texts else [np.zeros((1, 0))]
        return self.form.parts(np.concatenate(lengths))

    def gather(self, timesteps: np.ndarray, pictures: bool = True, into: np.ndarray | None = None) -> Encoded:
        """Any timesteps of the whole dataset, int64 (T,), in this order.

        Args:
            pictures: False leaves the patches out. into: where to put them, uint8 (T · form.patches, 16, 16, 3); default: a new array.
        """
        lengths = self._lengths(timesteps)
        patches, boxes = self._patches(timesteps, into) if pictures and self.form.images else NO_PATCHES
        return self.form.expand(self._tokens(timesteps, lengths), lengths, patches, boxes)

    def frames(self, timesteps: np.ndarray) -> list[np.ndarray]:
        """The pictures of timesteps int64 (T,), of each image field uint8 (T, H, W, C)."""
        out = [np.empty((len(timesteps), *(field.space.shape or ())), np.uint8) for field in self.form.images]
        for frames, numbers in zip(out, self._numbers(timesteps).T):
            self._pictures(numbers, frames)
        return out

    def _patches(self, timesteps: np.ndarray, into: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """As `encode.cut` has them of the pictures; those that divide into patches are decompressed to where they belong."""
        count, every = len(timesteps), self.form.patches
        patches = np.empty((count * every, PATCH_SIZE, PATCH_SIZE, 3), np.uint8) if into is None else into
        boxes, begin = [], 0
        for field, numbers in zip(self.form.images, self._numbers(timesteps).T):
            shape, end = field.space.shape or (), begin + (field.count or 0)
            target = patches.reshape(count, every, PATCH_SIZE, PATCH_SIZE, 3)[:, begin:end]
            in_place = as_pictures(target, *shape)
            if in_place is not None:
                self._pictures(numbers, in_place)
            else:
                frames = np.empty((count, *shape), np.uint8)
                self._pictures(numbers, frames)
                target[:] = to_patches(frames)
            boxes.append(np.broadcast_to(patch_boxes(*shape[:2]), (count, end - begin, 4)))
            begin = end
        return patches, np.concatenate(boxes, 1).reshape(-1, 4)

    def _numbers(self, timesteps: np.ndarray) -> np.ndarray:
        """Of the pictures of every image field, int64 (T, I)."""
        numbers = np.empty((len(timesteps), len(self.form.images)), np.int64)
        for segment, rows, inside in self._by_segment(timesteps):
            numbers[slice(None) if rows is None else rows] = self._array(segment, "pictures")[inside]
        return numbers

    def _pictures(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Pictures by their numbers into `out`, uint8 (T, …), whole; those that stay for several timesteps are decompressed once."""
        first = np.append(True, numbers[1:] != numbers[:-1])
        segments = np.searchsorted(self._picture_ends, numbers, side="right")
        for segment in np.unique(segments):
            rows = np.flatnonzero(first & (segments == segment))
            inside, ends = numbers[rows] - self._segments[segment].first_picture, self._array(segment, "blob_ends")
            begins = np.where(inside > 0, ends[inside - 1], 0)
            blobs = self._array(segment, "blobs")
            for row, begin, end in zip(rows.tolist(), begins.tolist(), ends[inside].tolist()):
                decompress(blobs[begin:end], out[row])
        if not first.all():
            rows = np.maximum.accumulate(np.where(first, np.arange(len(numbers)), 0))
            again = np.flatnonzero(~first)
            out[again] = out[rows[again]]

    def _lengths(self, timesteps: np.ndarray) -> np.ndarray:
        """How long their texts are, (T, F)."""
        out = np.zeros((len(timesteps), len(self.form.texts)), np.uint32)
        if out.shape[1]:
            for segment, rows, inside in self._by_segment(timesteps):
                out[slice(None) if rows is None else rows] = self._array(segment, "lengths")[inside]
        return out

    def _tokens(self, timesteps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Their stored tokens, end to end."""
        sizes = self.form.stored(lengths)
        if not len(self.form.texts):
            whole = np.empty((len(timesteps), sizes[0]), np.uint16)
            for segment, rows, inside in self._by_segment(timesteps):
                whole[slice(None) if rows is None else rows] = self._array(segment, "tokens").reshape(-1, sizes[0])[inside]
            return whole.ravel()
        ends = np.concatenate([[0], np.cumsum(sizes)])
        out = np.empty(ends[-1], np.uint16)
        for segment, rows, inside in self._by_segment(timesteps):
            offsets = self._stored_offsets(segment)
            where = slice(None) if rows is None else ranges(ends, rows)[0]
            stored = slice(offsets[inside.start], offsets[inside.stop]) if isinstance(inside, slice) else ranges(offsets, inside)[0]
            out[where] = self._array(segment, "tokens")[stored]
        return out

    def _stored_offsets(self, segment: int) -> Offsets:
        """Where in a segment's tokens each of its timesteps begins."""
        found = self._offsets.get(segment)
        if found is None:
            found = Offsets(self.form.stored(self._array(segment, "lengths")), self._segments[segment].timesteps)
            self._offsets[segment] = found
        return found

    def _by_segment(self, timesteps: np.ndarray) -> Iterator[tuple[int, np.ndarray | None, np.ndarray | slice]]:
        """Segments, which of the timesteps are in them (None: all), and where there; as a slice where they are in a row."""
        first, last = int(timesteps[0]), int(timesteps[-1])
        low, high = (int(s) - 1 for s in np.searchsorted(self._bounds, [first, last], side="right"))
        in_a_row = last - first == len(timesteps) - 1 and bool((np.diff(timesteps) == 1).all())
        if low == high and in_a_row:
            yield low, None, slice(first - int(self._bounds[low]), last + 1 - int(self._bounds[low]))
            return
        if len(self._segments) == 1:
            yield 0, None, timesteps
            return
        which = np.searchsorted(self._bounds, timesteps, side="right") - 1
        for segment in np.unique(which):
            rows = np.flatnonzero(which == segment)
            yield int(segment), rows, timesteps[rows] - self._bounds[segment]
