"""Episodes to flat token arrays and back: a handful of NumPy calls over whole arrays, whatever the number of timesteps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens import image
from opengato.tokens.layout import Layout, decode_leaf, encode_leaf
from opengato.tokens.nested import get_path, rebuild
from opengato.tokens.offsets import Offsets
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import (
    ACTION_TEXT,
    IMAGE,
    LOCAL_ACTION,
    LOCAL_POSITIONS,
    PATCH,
    PATCH_SIZE,
    SEPARATOR,
    SEPARATOR_KIND,
)


@dataclass
class Encoded:
    """N tokens of T timesteps with P image patches.

    Attributes:
        tokens: int32 (N,), ids of the vocabulary, PATCH where an image patch stands.
        kinds: uint8 (N,), what each token is (vocabulary.py); kinds from ACTION_TEXT on are targets.
        local: int16 (N,), index inside the timestep, LOCAL_ACTION for actions.
        offsets: int64 (T + 1,), where each timestep starts; offsets[T] = N.
        patches: uint8 (P, 16, 16, 3), in the order of their PATCH tokens.
        boxes: uint8 (P, 4), each patch's row and column interval (image.patch_boxes).
    """

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    offsets: np.ndarray
    patches: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def patch_offsets(self) -> np.ndarray:
        """int64 (T + 1,), where each timestep's patches start."""
        found: np.ndarray = np.concatenate([[0], np.cumsum(self.kinds == IMAGE)])[self.offsets]
        return found

    def take(self, timesteps: np.ndarray) -> Encoded:
        """Some timesteps, int64 (T,), in this order; as views where they are in a row."""
        at: Any
        patches: Any
        if len(timesteps) and (np.diff(timesteps) == 1).all():
            first, stop = int(timesteps[0]), int(timesteps[-1]) + 1
            at, patches = (slice(int(of[first]), int(of[stop])) for of in (self.offsets, self.patch_offsets))
            offsets = self.offsets[first : stop + 1] - self.offsets[first]
        else:
            at, offsets = ranges(self.offsets, timesteps)
            patches, _ = ranges(self.patch_offsets, timesteps)
        return Encoded(self.tokens[at], self.kinds[at], self.local[at], offsets, self.patches[patches], self.boxes[patches])


def ranges(offsets: np.ndarray | Offsets, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries [offsets[r], offsets[r + 1]) of all rows, end to end, and where each row's begin among them (with the end)."""
    counts = offsets[rows + 1] - offsets[rows]
    ends = np.concatenate([[0], np.cumsum(counts)])
    return np.repeat(offsets[rows] - ends[:-1], counts) + np.arange(ends[-1]), ends


NO_PATCHES = np.zeros((0, PATCH_SIZE, PATCH_SIZE, 3), np.uint8), np.zeros((0, 4), np.uint8)  # and their boxes
_FEW_TIMESTEPS = 64  # up to so many, as an acting agent's, where their tokens stand is kept


def encode_timesteps(layout: Layout, tokenizer: TextTokenizer, observations: Any, actions: Any | None, length: int) -> Encoded:
    """Encode T timesteps; with `actions` None the stream ends each timestep at its separator (what a policy reads).

    Args:
        observations, actions: nested like the spaces, leaves (T, *shape) or lists of T strings.
        length: T.
    """
    parts, frames = parts_of(layout, tokenizer, observations, actions, length)
    fields = (*layout.observation, *(() if actions is None else layout.action))
    if 0 < length <= _FEW_TIMESTEPS and all(field.count is not None for field in fields):
        offsets, kinds, local, places = _fixed_places(tuple(kind for _, _, kind in parts), tuple(int(c[0]) for _, c, _ in parts), length)
    else:
        offsets, kinds, local, places = places_of([kind for _, _, kind in parts], np.stack([c for _, c, _ in parts]))
    tokens = np.empty(len(kinds), np.int32)
    for (flat, _, _), where in zip(parts, places):
        tokens[where] = flat
    return Encoded(tokens, kinds, local, offsets, *cut(frames, length))


def parts_of(
    layout: Layout, tokenizer: TextTokenizer, observations: Any, actions: Any | None, length: int
) -> tuple[list[tuple[np.ndarray, np.ndarray, int]], list[np.ndarray]]:
    """Of every field in order, and of the separator: its tokens, flat, how many each timestep has, and their kind; and the pictures.

    With `actions` None they end with the separator. Raises OpenGatoError as `encode`, but naming no task.
    """
    parts: list[tuple[np.ndarray, np.ndarray, int]] = []
    pictures = []
    for side, nested in ((layout.observation, layout.read(observations)), (None, None), (layout.action, actions)):
        if side is None:
            parts.append((np.full(length, SEPARATOR, np.int32), np.ones(length, np.int64), SEPARATOR_KIND))
            continue
        if nested is None:
            continue
        for field in side:
            values = get_path(nested, field.path)
            if len(values) != length:
                raise OpenGatoError(f"field {field.path or '(root)'} has {len(values)} timesteps where the episode has {length}")
            if field.count is None:
                ids = [np.append(piece, tokenizer.eos) for piece in tokenizer.encode_batch(list(values))]
                flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
                parts.append((flat, np.array([len(i) for i in ids], np.int64), field.kind))
            elif field.kind == IMAGE:
                frames = np.asarray(values)
                if frames.shape[1:] != field.space.shape or frames.dtype != np.uint8:
                    raise OpenGatoError(
                        f"field {field.path or '(root)'} is {frames.dtype} {frames.shape[1:]} where its space is {field.space}"
                    )
                pictures.append(frames)
                parts.append((np.full(length * field.count, PATCH, np.int32), np.full(length, field.count), IMAGE))
            else:
                parts.append((encode_leaf(field, values).ravel(), np.full(length, field.count), field.kind))
    return parts, pictures


def cut(frames: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches and boxes, as in `Encoded`, of the T pictures of each image field, uint8 (T, H, W, C)."""
    if not frames:
        return NO_PATCHES
    patches = [image.to_patches(of) for of in frames]
    boxes = [np.broadcast_to(image.patch_boxes(*of.shape[1:3]), (length, p.shape[1], 4)) for of, p in zip(frames, patches)]
    # several image fields interleave by timestep: (T, patches of all fields)
    return np.concatenate(patches, 1).reshape(-1, PATCH_SIZE, PATCH_SIZE, 3), np.concatenate(boxes, 1).reshape(-1, 4)


def places_of(kinds_of: Sequence[int], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Of parts with these kinds and counts (parts, T): offsets, kinds and local of `Encoded`, and where each part's tokens stand."""
    length = counts.shape[1]
    offsets = np.concatenate([[0], np.cumsum(counts.sum(0))]).astype(np.int64)
    starts = offsets[:-1] + np.concatenate([np.zeros((1, length), np.int64), np.cumsum(counts, 0)[:-1]])
    total = int(offsets[-1])
    kinds, places = np.empty(total, np.uint8), []
    for kind, count, start in zip(kinds_of, counts, starts):
        places.append(np.repeat(start - (np.cumsum(count) - count), count) + np.arange(count.sum()))
        kinds[places[-1]] = kind
    return offsets, kinds, local_positions(kinds, offsets), places


def local_positions(kinds: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`Encoded.local` of tokens of these kinds (paper, appendix C)."""
    local = np.arange(len(kinds)) - np.repeat(offsets[:-1], np.diff(offsets))
    found: np.ndarray = np.where(kinds >= ACTION_TEXT, LOCAL_ACTION, np.minimum(local, LOCAL_POSITIONS - 1)).astype(np.int16)
    return found


@lru_cache(maxsize=256)
def _fixed_places(
    kinds_of: tuple[int, ...], counts: tuple[int, ...], length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """`places_of` of timesteps that are all alike, kept: an acting agent asks for the same ones in each step. Not to be written to."""
    known = places_of(kinds_of, np.repeat(np.array(counts)[:, None], length, 1))
    for array in (*known[:3], *known[3]):
        array.flags.writeable = False
    return known


def encode(layout: Layout, episode: Episode, tokenizer: TextTokenizer) -> Encoded:
    """An episode's tokens. Raises OpenGatoError naming task, field and timestep for values that have none, and for an empty episode."""
    with of_task(episode):
        return encode_timesteps(layout, tokenizer, episode.observations, episode.actions, len(episode))


@contextmanager
def of_task(episode: Episode) -> Iterator[None]:
    """What cannot be encoded is said to be of the episode's task; an episode without timesteps is refused."""
    if not len(episode):
        raise OpenGatoError(f"task {episode.task!r}: an episode has no timesteps: leave it out of the dataset")
    try:
        yield
    except OpenGatoError as error:
        raise OpenGatoError(f"task {episode.task!r}: {error}") from None


def decode_actions(layout: Layout, tokens: Sequence[Sequence[int] | np.ndarray], tokenizer: TextTokenizer) -> list[Any]:
    """The action tokens of S timesteps, int (A,) each, to S actions of the action space."""
    rows = np.full((len(tokens), max(map(len, tokens))), tokenizer.eos)
    for row, of in zip(rows, tokens):
        row[: len(of)] = of
    values: dict[str, Any] = {}
    at = np.zeros(len(rows), np.int64)
    for field in layout.action:
        if field.count is None:
            ends = [int(start) + _text_length(row[start:], tokenizer) for start, row in zip(at, rows)]
            texts = [row[start:end] for row, start, end in zip(rows, at, ends)]
            values[field.path] = [tokenizer.decode(text[text != tokenizer.eos]) for text in texts]
            at = np.array(ends, np.int64)
        else:
            values[field.path] = decode_leaf(field, np.take_along_axis(rows, at[:, None] + np.arange(field.count), 1))
            at = at + field.count
    actions = [rebuild(layout.action_space, {path: of[number] for path, of in values.items()}) for number in range(len(rows))]
    return [int(action) for action in actions] if isinstance(layout.action_space, spaces.Discrete) else actions


def decode(layout: Layout, encoded: Encoded, tokenizer: TextTokenizer) -> tuple[Any, Any]:
    """The observations and actions of an encoded episode: continuous values within half a bin, all else exact."""
    at = encoded.offsets[:-1].copy()
    patch_at = np.concatenate([[0], np.cumsum(encoded.tokens == PATCH)])
    out: list[dict[str, Any]] = []
    for side in (layout.observation, layout.action):
        values: dict[str, Any] = {}
        for field in side:
            if field.count is None:
                ends = [int(a) + _text_length(encoded.tokens[a:], tokenizer) for a in at]
                values[field.path] = [tokenizer.decode(encoded.tokens[a : e - 1]) for a, e in zip(at, ends)]
                at = np.array(ends, np.int64)
                continue
            where = at[:, None] + np.arange(field.count)
            if field.kind == IMAGE:
                shape: tuple[int, ...] = field.space.shape  # type: ignore[assignment]
                index = patch_at[where]
                values[field.path] = image.from_patches(encoded.patches[index], shape[0], shape[1], shape[2])
            else:
                values[field.path] = decode_leaf(field, encoded.tokens[where])
            at = at + field.count
        out.append(values)
        at = at + 1  # the separator
    return rebuild(layout.observation_space, out[0]), rebuild(layout.action_space, out[1])


def _text_length(tokens: np.ndarray, tokenizer: TextTokenizer) -> int:
    """Tokens up to and with the end token, or all of them where there is none."""
    ends = np.flatnonzero(tokens == tokenizer.eos)
    return int(ends[0]) + 1 if len(ends) else len(tokens)
