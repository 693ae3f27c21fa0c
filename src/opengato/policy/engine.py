"""One batched engine: slots, each with its own task, prompt and memory, stepped together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from opengato.episode import map_leaves
from opengato.errors import OpenGatoError
from opengato.mixture import Sequence
from opengato.model.batch import collate
from opengato.model.gato import Gato
from opengato.policy.sampling import sample
from opengato.tokens.encode import Encoded, decode_action, encode_timesteps
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import (
    ACTION_DISCRETE,
    ACTION_TEXT,
    DISCRETE_SIZE,
    LOCAL_ACTION,
    TARGET_RANGES,
    TEXT_SIZE,
)

DISCRETE_TEMPERATURE = 0.7


@dataclass
class Slot:
    """One agent at work: its layout, where its memory ends, the action token that its next observation brings along, its own chance."""

    layout: Layout
    position: int = 0
    carried: tuple[int, int] | None = None  # token id, kind
    prompt: Encoded | None = None
    chance: np.random.Generator = dataclasses.field(default_factory=np.random.default_rng)


class Engine:
    """Steps many slots through one network with a key/value memory that slides (paper, section 2.4).

    Args:
        model: in evaluation mode. tokenizer: of its checkpoint. slots: how many agents act at once.
        temperature: of the sampling; 0 takes the most likely token. None: 0.7 for discrete actions, since a greedy agent can repeat an
            error for ever, and 0 for continuous actions and text.
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
        self.memory = model.make_memory(slots, self.device)
        self.slots: list[Slot | None] = [None] * slots
        self.temperature, self.top_p, self.max_text = temperature, top_p, max_text

    def reset(self, slot: int, layout: Layout, prompt: Encoded | None = None, seed: int = 0) -> None:
        """Start an episode in a slot with an empty memory; the prompt is read with the first observation, `seed` is of the sampling."""
        self.memory.reset(slot)
        self.slots[slot] = Slot(layout, prompt=prompt, chance=np.random.default_rng(seed))

    @torch.inference_mode()
    def act(self, observations: dict[int, Any], on_token: Callable[[int, int], None] | None = None) -> dict[int, Any]:
        """Observations by slot to actions by slot. `on_token(slot, id)` hears every action token as it is chosen."""
        chosen: dict[int, list[int]] = {}
        for slot in observations:
            if self.slots[slot] is None:
                raise OpenGatoError(f"slot {slot} was not reset: call reset with a task before act")
            chosen[slot] = []
        inputs = {slot: self._observe(slot, observation) for slot, observation in observations.items()}
        active = set(observations)
        while active:
            picked = self._pick(self._forward(inputs), active, chosen)
            inputs = {}
            for slot, tokens in picked.items():
                chosen[slot] += tokens
                if on_token:
                    for token in tokens:
                        on_token(slot, token)
                kind, done = self._after(slot, chosen[slot])
                if done:
                    read = self.model.config.reads_actions or kind == ACTION_TEXT
                    self._slot(slot).carried = (tokens[-1], kind) if read else None
                    active.discard(slot)
                else:
                    inputs[slot] = self._single(slot, tokens[-1], kind)
        return {slot: decode_action(self._slot(slot).layout, np.array(tokens), self.tokenizer) for slot, tokens in chosen.items()}

    def _slot(self, slot: int) -> Slot:
        state = self.slots[slot]
        assert state is not None
        return state

    def _pick(self, hidden: torch.Tensor, active: set[int], chosen: dict[int, list[int]]) -> dict[int, list[int]]:
        """The next tokens of every active slot, as many as its hidden state (slots, width) predicts; each among the legal ids only."""
        picked: dict[int, list[int]] = {slot: [] for slot in sorted(active)}
        ranges: dict[tuple[int, int], list[tuple[int, int]]] = {}  # legal ids -> (slot, rank among the slot's next tokens)
        for slot, tokens in picked.items():
            while True:
                field, entry = self._field(slot, chosen[slot] + tokens)
                if field is None:
                    break
                if field.kind == ACTION_DISCRETE:
                    legal = (0, int(field.high[entry]))
                else:
                    legal = TARGET_RANGES[field.kind]
                ranges.setdefault(legal, []).append((slot, len(tokens)))
                tokens.append(0)
                if self.model.config.reads_actions or field.kind == ACTION_TEXT:
                    break
        for (start, stop), wanted in ranges.items():
            temperature = self.temperature
            if temperature is None:
                temperature = DISCRETE_TEMPERATURE if stop <= DISCRETE_SIZE else 0.0
            slots, ranks = torch.tensor(wanted, device=self.device).T
            scores = self.model.logits(hidden[slots], start, stop, None if stop == TEXT_SIZE else ranks)
            uniform = torch.tensor([self._slot(slot).chance.random() for slot, _ in wanted], device=self.device)
            for (slot, rank), token in zip(wanted, (sample(scores, temperature, self.top_p, uniform) + start).tolist()):
                picked[slot][rank] = token
        return picked

    def _field(self, slot: int, tokens: Sequences[int]) -> tuple[Any, int]:
        """The action field that the next token belongs to, and its entry in it."""
        at = 0
        for field in self._slot(slot).layout.action:
            if field.count is None:
                text = list(tokens[at:])
                length = text.index(self.tokenizer.eos) + 1 if self.tokenizer.eos in text else self.max_text
                if len(text) < length:
                    return field, len(text)
                at += length
            else:
                if len(tokens) < at + field.count:
                    return field, len(tokens) - at
                at += field.count
        return None, 0

    def _after(self, slot: int, tokens: list[int]) -> tuple[int, bool]:
        """The kind of the last token, and whether the action is whole."""
        field, _ = self._field(slot, tokens[:-1])
        following, _ = self._field(slot, tokens)
        return field.kind, following is None

    def _observe(self, slot: int, observation: Any) -> Sequence:
        state = self._slot(slot)
        batched = map_leaves(lambda leaf: [leaf] if isinstance(leaf, str) else np.asarray(leaf)[None], observation)
        encoded = encode_timesteps(state.layout, self.tokenizer, batched, None, 1)
        fold = self.model.config.fold
        tokens, kinds, local = encoded.tokens.astype(np.int64), encoded.kinds, encoded.local.astype(np.int64)
        positions, starts = fold.positions(kinds, encoded.offsets)
        length = int(starts[-1])
        boxes, patches = encoded.boxes, encoded.patches
        if state.carried is not None:
            token, kind = state.carried
            shift = 0 if fold.patches_per_position else 1
            tokens, kinds, local = np.append(token, tokens), np.append(np.uint8(kind), kinds), np.append(LOCAL_ACTION, local)
            positions, length = np.append(0, positions + shift), length + shift
        if state.prompt is not None:
            p = state.prompt
            before, prompt_starts = fold.positions(p.kinds, p.offsets)
            positions = np.concatenate([before, positions + prompt_starts[-1]])
            length += int(prompt_starts[-1])
            tokens = np.concatenate([p.tokens, tokens])
            kinds, local = np.concatenate([p.kinds, kinds]), np.concatenate([p.local, local])
            boxes, patches = np.concatenate([p.boxes, boxes]), np.concatenate([p.patches, patches])
            state.prompt = None
        return self._sequence(state, tokens, kinds, local, positions, length, patches, mean_positions(boxes))

    def _single(self, slot: int, token: int, kind: int) -> Sequence:
        one = np.array([0])
        return self._sequence(
            self._slot(slot),
            np.array([token]),
            np.array([kind], np.uint8),
            np.array([LOCAL_ACTION]),
            one,
            1,
            np.zeros((0, 16, 16, 3), np.uint8),
            np.zeros((0, 2), np.int64),
        )

    def _sequence(
        self,
        state: Slot,
        tokens: np.ndarray,
        kinds: np.ndarray,
        local: np.ndarray,
        positions: np.ndarray,
        length: int,
        patches: np.ndarray,
        places: np.ndarray,
    ) -> Sequence:
        index = np.arange(state.position, state.position + length)
        state.position += length
        return Sequence(
            tokens,
            kinds,
            local.astype(np.int64),
            positions,
            np.zeros(len(tokens), bool),
            np.zeros(length, np.int64),
            index,
            patches,
            places[:, 0],
            places[:, 1],
            0,
            1,
        )

    def _forward(self, inputs: dict[int, Sequence]) -> torch.Tensor:
        """The hidden state of every slot's last new position, (slots, width); rows of slots without input are meaningless."""
        length = max(len(s.segments) for s in inputs.values())
        rows, last = [], np.zeros(len(self.slots), np.int64)
        nothing = np.zeros(0, np.int64)
        for slot in range(len(self.slots)):
            s = inputs.get(slot) or Sequence(
                nothing,
                np.zeros(0, np.uint8),
                nothing,
                nothing,
                np.zeros(0, bool),
                nothing,
                nothing,
                np.zeros((0, 16, 16, 3), np.uint8),
                nothing,
                nothing,
                0,
                0,
            )
            pad = length - len(s.segments)
            last[slot] = max(len(s.segments) - 1, 0)
            rows.append(
                Sequence(
                    s.tokens,
                    s.kinds,
                    s.local,
                    s.positions,
                    s.predicted,
                    np.pad(s.segments, (0, pad), constant_values=-1),
                    np.pad(s.index, (0, pad)),
                    s.patches,
                    s.patch_rows,
                    s.patch_columns,
                    0,
                    1,
                )
            )
        hidden = self.model.step(collate(rows, self.model.config.reads_actions).to(self.device), self.memory)
        return hidden[torch.arange(len(rows), device=hidden.device), torch.from_numpy(last).to(hidden.device)]
