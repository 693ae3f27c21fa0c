"""One batched engine: slots, each with its own task, prompt and memory, stepped together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from opengato.episode import stack
from opengato.errors import OpenGatoError
from opengato.model.batch import NewTokens
from opengato.model.compiled import warming_up
from opengato.model.gato import Gato
from opengato.model.memory import Rows
from opengato.policy.sampling import sample
from opengato.tokens.encode import Encoded, decode_actions, encode_timesteps
from opengato.tokens.grammar import ActionGrammar
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import decorrelate
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import (
    CONTINUOUS,
    DISCRETE_SIZE,
    LOCAL_ACTION,
    PATCH_SIZE,
    TEXT_SIZE,
)

DISCRETE_TEMPERATURE = 0.7
_WARMING = 4  # actions: the first with the prompt, two of the shape that follows, of which the second compiles, and one that runs it
_NO_PATCHES, _NO_BOXES = np.zeros((0, PATCH_SIZE, PATCH_SIZE, 3), np.uint8), np.zeros((0, 4), np.uint8)
_NO_VALUES = np.zeros(0, np.float32)


@dataclass
class Slot:
    """One agent at work: its actions, where its memory ends, the action tokens that its next observation brings along, how it samples.

    `in_a_row`: actions that its next pass chooses, of which `later` has the tokens of all but the first.
    """

    layout: Layout
    grammar: ActionGrammar
    position: int = 0
    carried: list[tuple[int, int]] = dataclasses.field(default_factory=list)  # token ids, kinds
    in_a_row: int = 1
    later: list[list[int]] = dataclasses.field(default_factory=list)
    prompt: Encoded | None = None
    chance: np.random.Generator = dataclasses.field(default_factory=np.random.default_rng)
    temperature: float | None = None
    top_p: float = 1.0


class Engine:
    """Steps many slots through one network with a key/value memory that slides (paper, section 2.4).

    Args:
        model: in evaluation mode. tokenizer: of its checkpoint. slots: how many agents act at once.
        temperature: of the sampling; 0 takes the most likely token. None: 0.7 for discrete actions, since a greedy agent can repeat an
            error for ever, and 0 for continuous actions and text.

    Attributes:
        heard: is told the scores of the legal ids of next tokens, float32 (N, ids), and of which each is: its slot and its rank among the
            tokens that are predicted together. None: nobody listens.
    """

    def __init__(
        self,
        model: Gato,
        tokenizer: TextTokenizer,
        slots: int,
        temperature: float | None = None,
        top_p: float = 1.0,
        max_text: int = 64,
    ):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.device = next(model.parameters()).device
        self.memory = model.make_memory(slots)
        self.slots: list[Slot | None] = [None] * slots
        self.temperature, self.top_p, self.max_text = temperature, top_p, max_text
        self._warm: list[tuple[Layout, int]] = []  # what is compiled for: how many slots at a time
        self.heard: Callable[[torch.Tensor, list[tuple[int, int]]], None] | None = None

    def reset(
        self,
        slot: int,
        layout: Layout,
        prompt: Encoded | None = None,
        seed: int = 0,
        temperature: float | None = None,
        top_p: float | None = None,
    ) -> None:
        """Start an episode in a slot with an empty memory; the prompt is read with the first observation.

        `seed`, `temperature` and `top_p` are of the episode's sampling; None: the engine's.
        """
        self.memory.reset(slot)
        self.slots[slot] = Slot(
            layout,
            ActionGrammar(layout, self.tokenizer.eos, self.max_text, self.model.config.reads_actions),
            prompt=prompt,
            chance=np.random.default_rng(seed),
            temperature=self.temperature if temperature is None else temperature,
            top_p=self.top_p if top_p is None else top_p,
        )

    def warm_up(self, layout: Layout, observation: Any, prompt: Encoded | None = None, count: int = 1) -> None:
        """Act a few times for nobody in the first `count` slots, so that what acting on such observations needs is compiled now.

        Reset the slots after it. Other engines of the same model and as many slots are warm too, once they `expect` it.
        """
        with warming_up():
            for slot in range(count):
                self.reset(slot, layout, prompt)
            for _ in range(_WARMING):
                self.act(dict.fromkeys(range(count), observation))
        self.expect(layout, count)

    def expect(self, layout: Layout, count: int) -> None:
        """That up to `count` slots act at a time on observations of a layout is compiled."""
        self._warm.append((layout, count))

    def expects(self, layout: Layout, count: int) -> bool:
        """Whether so many slots are compiled for."""
        return any(known is layout and size == count for known, size in self._warm)

    def size(self, layout: Layout, observation: Any) -> int:
        """How many tokens an observation has."""
        return len(encode_timesteps(layout, self.tokenizer, stack([observation]), None, 1).tokens)

    def act(self, observations: dict[int, Any], on_token: Callable[[int, int], None] | None = None) -> dict[int, Any]:
        """Observations by slot to actions by slot. `on_token(slot, id)` hears every action token as it is chosen."""
        actions, unfinished = self.begin(observations, on_token)
        while unfinished:
            actions |= self.go_on(unfinished, on_token)
        return {slot: actions[slot] for slot in observations}

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        """Observations by slot to `steps` actions in a row by slot, to be taken before the next observation.

        As many as the network predicts at once (`ModelConfig.chunk`) take one pass. More than those, and texts, are chosen as if the
        same observation had been made again, since no newer one is known.
        """
        actions: dict[int, list[Any]] = {slot: [] for slot in observations}
        while waiting := {slot: seen for slot, seen in observations.items() if len(actions[slot]) < steps}:
            for slot in waiting:
                state = self._slot(slot)
                state.in_a_row = min(state.layout.in_a_row(self.model.config.chunk), steps - len(actions[slot]))
            try:
                for slot, action in self.act(waiting).items():
                    state = self._slot(slot)
                    actions[slot] += [action, *(decode_actions(state.layout, state.later, self.tokenizer) if state.later else ())]
            finally:
                for slot in waiting:
                    self._slot(slot).in_a_row, self._slot(slot).later = 1, []
        return actions

    @torch.inference_mode()
    def begin(
        self, observations: dict[int, Any], on_token: Callable[[int, int], None] | None = None
    ) -> tuple[dict[int, Any], dict[int, list[int]]]:
        """The first pass of `act`: the actions that are whole with it, by slot, and of the others the tokens so far, for `go_on`."""
        chosen: dict[int, list[int]] = {slot: [] for slot in sorted(observations)}
        return self._choose(self._observe(observations), chosen, on_token), chosen

    @torch.inference_mode()
    def go_on(self, unfinished: dict[int, list[int]], on_token: Callable[[int, int], None] | None = None) -> dict[int, Any]:
        """One more pass for actions that are not whole yet, of one `begin` or several: those that are now, taken out of `unfinished`."""
        kinds = [self._slot(slot).grammar.after(tokens)[0] for slot, tokens in unfinished.items()]
        new = self._singles(list(unfinished), [tokens[-1] for tokens in unfinished.values()], kinds)
        return self._choose(new, unfinished, on_token)

    def speaks(self, slot: int) -> bool:
        """Whether the slot's actions have text in them, one pass a token, as many as it takes."""
        return self._slot(slot).grammar.has_text

    def _choose(self, new: NewTokens, chosen: dict[int, list[int]], on_token: Callable[[int, int], None] | None) -> dict[int, Any]:
        """One pass: the next tokens of every slot in `chosen`; the actions that are whole now are taken out of it."""
        whole: dict[int, list[int]] = {}  # the slots of each layout
        for slot, tokens in self._pick(self._forward(new), list(chosen), chosen).items():
            state = self._slot(slot)
            tokens, *state.later = _in_parts(tokens, state.in_a_row)
            chosen[slot] += tokens
            if on_token:
                for token in tokens:
                    on_token(slot, token)
            if state.grammar.after(chosen[slot])[1]:
                state.carried = self._carried(state, state.later[-1] if state.later else chosen[slot], len(tokens))
                whole.setdefault(id(state.layout), []).append(slot)
        actions: dict[int, Any] = {}
        for slots in whole.values():
            tokens_of = [chosen.pop(slot) for slot in slots]
            actions |= zip(slots, decode_actions(self._slot(slots[0]).layout, tokens_of, self.tokenizer))
        return actions

    def _carried(self, state: Slot, tokens: list[int], new: int) -> list[tuple[int, int]]:
        """Those of the last `new` tokens of a whole action that the model sees, with their kinds."""
        ends = range(len(tokens) - new + 1, len(tokens) + 1)
        carried = [(tokens[end - 1], state.grammar.after(tokens[:end])[0]) for end in ends]
        return [(token, kind) for token, kind in carried if self.model.config.reads(kind)]

    def _slot(self, slot: int) -> Slot:
        state = self.slots[slot]
        if state is None:
            raise OpenGatoError(f"slot {slot} was not reset: call reset with a task before act")
        return state

    def _pick(self, hidden: torch.Tensor, active: list[int], chosen: dict[int, list[int]]) -> dict[int, list[int]]:
        """The next tokens of every active slot, as many as its hidden state (slots, width) predicts; each among the legal ids only."""
        picked: dict[int, list[int]] = {}
        # legal ids, temperature, top_p -> slot, rank among the slot's next tokens, chance
        ranges: dict[tuple[int, int, float, float], list[tuple[int, int, float]]] = {}
        for slot in active:
            state = self._slot(slot)
            legal = state.grammar.following(chosen[slot]) * state.in_a_row
            picked[slot] = [0] * len(legal)
            for rank, (start, stop) in enumerate(legal):
                temperature = state.temperature
                if temperature is None:
                    temperature = DISCRETE_TEMPERATURE if stop <= DISCRETE_SIZE else 0.0
                # Drawn in the slot's own order: that of the ranges depends on the other slots.
                chance = state.chance.random() if temperature > 0 else 0.0
                ranges.setdefault((start, stop, temperature, state.top_p), []).append((slot, rank, chance))
        for (start, stop, temperature, top_p), wanted in ranges.items():
            asked = wanted + wanted[:1] * (_power_of_two(len(wanted)) - len(wanted) if self.model.compiled else 0)  # few shapes
            slots = torch.tensor([slot for slot, _, _ in asked], device=self.device)
            ranks = torch.tensor([rank for _, rank, _ in asked], device=self.device)
            with self.model.autocast():
                scores = self.model.logits(hidden[slots], start, stop, None if stop == TEXT_SIZE else ranks)
            scores = scores[: len(wanted)]
            if self.heard is not None:
                self.heard(scores, [(slot, rank) for slot, rank, _ in wanted])
            uniform = torch.tensor([chance for _, _, chance in wanted], device=self.device) if temperature > 0 else None
            for (slot, rank, _), token in zip(wanted, (sample(scores, temperature, top_p, uniform) + start).tolist()):
                picked[slot][rank] = token
        return picked

    def _observe(self, observations: dict[int, Any]) -> NewTokens:
        """The tokens of new observations, those of one layout encoded together, with what stands before them."""
        fold, groups = self.model.config.fold, dict[int, list[int]]()
        for slot in observations:
            groups.setdefault(id(self._slot(slot).layout), []).append(slot)
        lengths, before = np.zeros(len(self.slots), np.int64), np.zeros(len(self.slots), np.int64)
        parts: list[tuple[np.ndarray, ...]] = []  # tokens, kinds, local, slots, positions
        values: list[np.ndarray] = []
        patches, boxes = [], []
        for slots in groups.values():
            together = stack([observations[slot] for slot in slots])
            encoded = encode_timesteps(self._slot(slots[0]).layout, self.tokenizer, together, None, len(slots))
            positions, starts = fold.positions(encoded.kinds, encoded.offsets)
            timestep = np.repeat(np.arange(len(slots)), np.diff(encoded.offsets))
            lengths[slots] = np.diff(starts)
            parts.append((encoded.tokens, encoded.kinds, encoded.local, np.array(slots)[timestep], positions - starts[timestep]))
            values.append(_values(encoded, self._slot(slots[0]).layout))
            patches.append(encoded.patches)
            boxes.append(encoded.boxes)
        first = len(parts)
        for slot in observations:
            state = self._slot(slot)
            if state.carried:
                tokens, kinds = (np.array(column) for column in zip(*state.carried))
                shared = (np.full(len(tokens), value) for value in (LOCAL_ACTION, slot, 0))
                parts.insert(0, (tokens, kinds.astype(np.uint8), *shared))
                patches.insert(0, _NO_PATCHES)
                boxes.insert(0, _NO_BOXES)
                before[slot] = 0 if fold.patches_per_position else 1
            if state.prompt is not None:
                prompt = state.prompt
                positions, starts = fold.positions(prompt.kinds, prompt.offsets)
                values.insert(0, _values(prompt, state.layout))
                parts.insert(0, (prompt.tokens, prompt.kinds, prompt.local, np.full(len(positions), slot), positions))
                patches.insert(0, prompt.patches)
                boxes.insert(0, prompt.boxes)
                before[slot] = starts[-1]
                state.prompt = None
        for number in range(len(parts) - first, len(parts)):
            tokens, kinds, local, slots_of, positions = parts[number]
            parts[number] = (tokens, kinds, local, slots_of, positions + before[slots_of])
        tokens, kinds, local, slots_of, positions = (np.concatenate(column) for column in zip(*parts))
        places = mean_positions(np.concatenate(boxes))
        return self._new(
            tokens, kinds, local, slots_of, positions, lengths + before, np.concatenate(patches), places, np.concatenate(values)
        )

    def _singles(self, slots: list[int], tokens: list[int], kinds: list[int]) -> NewTokens:
        """One action token each for some slots."""
        lengths, count = np.zeros(len(self.slots), np.int64), len(slots)
        lengths[slots] = 1
        local, zeros = np.full(count, LOCAL_ACTION), np.zeros(count, np.int64)
        places = np.zeros((0, 2), np.int64)
        return self._new(np.array(tokens), np.array(kinds, np.uint8), local, np.array(slots), zeros, lengths, _NO_PATCHES, places)

    def _new(
        self,
        tokens: np.ndarray,
        kinds: np.ndarray,
        local: np.ndarray,
        slots: np.ndarray,
        positions: np.ndarray,
        lengths: np.ndarray,
        patches: np.ndarray,
        places: np.ndarray,
        values: np.ndarray = _NO_VALUES,
    ) -> NewTokens:
        begins = np.array([0 if state is None else state.position for state in self.slots])
        for slot in np.flatnonzero(lengths):
            self._slot(slot).position += int(lengths[slot])
        return NewTokens(tokens, kinds, local, slots, positions, values, lengths, begins, patches, places)

    def _forward(self, new: NewTokens) -> torch.Tensor:
        """The hidden state of every slot's last new position, (slots, width); rows of slots without any are meaningless."""
        busy, rows = np.flatnonzero(new.lengths), self._rows(new)
        end = int(new.begins[busy].max() + new.lengths.max())
        if (count := self._compiled_for(busy)) is not None:
            new, rows = new.filled(count), slice(0, count)
        elif isinstance(rows, slice):
            if rows.stop - rows.start < len(self.slots):
                new = new.of(np.arange(rows.start, rows.stop))
        else:
            new, rows = new.of(busy), rows.to(self.device)
        batch = new.batch(self.model.config, self.model.compiled).to(self.device)
        with self.model.autocast():
            hidden = self.model.step(batch, self.memory, rows, end)
        last = torch.from_numpy(np.maximum(new.lengths - 1, 0)).to(hidden.device)
        newest = hidden[:, 0] if hidden.shape[1] == 1 else hidden[torch.arange(len(last), device=hidden.device), last]
        if len(newest) == len(self.slots):
            return newest
        every = newest.new_zeros(len(self.slots), newest.shape[1])
        every[rows] = newest
        return every

    def _compiled_for(self, busy: np.ndarray) -> int | None:
        """The fewest slots from the first on that are compiled for and hold all busy ones; None where nothing is, or layouts are mixed."""
        layout = self._slot(int(busy[0])).layout
        count = min((size for known, size in self._warm if known is layout and size > busy[-1]), default=None)
        return count if all(self._slot(int(slot)).layout is layout for slot in busy) else None

    def _rows(self, new: NewTokens) -> Rows:
        """The slots to compute: all from the first busy one to the last, as they lie, unless most of them are idle."""
        busy = np.flatnonzero(new.lengths)
        first, stop = int(busy[0]), int(busy[-1]) + 1
        # The memory of scattered slots is copied out, which of many costs more than to compute the idle ones among them.
        return torch.from_numpy(busy) if 2 * len(busy) < stop - first else slice(first, stop)


def _in_parts(tokens: list[int], count: int) -> list[list[int]]:
    """So many parts of equal length."""
    size = len(tokens) // count
    return [tokens[n * size : (n + 1) * size] for n in range(count)]


def _power_of_two(count: int) -> int:
    """The smallest that is not smaller."""
    return 1 << (count - 1).bit_length()


def _values(encoded: Encoded, layout: Layout) -> np.ndarray:
    """The observed numbers in their own units, as in `Sequence`."""
    return decorrelate(encoded.tokens[encoded.kinds == CONTINUOUS], layout.statistics)
