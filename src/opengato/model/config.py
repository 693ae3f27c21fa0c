"""What a model is: every size, and the named presets."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from opengato.errors import OpenGatoError, unknown
from opengato.tokens.fold import Fold
from opengato.tokens.vocabulary import ACTION_DISCRETE, ACTION_TEXT

# The width at which the rates of swift were found.
BASE_WIDTH = 192

DIAL = r"swift-d([1-9]\d?)"  # names of presets of any depth


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one model.

    Attributes:
        family: "gato" is the paper's transformer, "swift" the folded one (DESIGN, two model families).
        blocks, heads, width, key_size: of the transformer. feed_forward: size of the GEGLU's input projection (both halves).
        context: tokens (positions) a training sequence and the acting memory hold.
        stochastic_depth: rate a sub-layer is dropped for a sequence in training (paper: 0.1, rate unconfirmed).
        dropout: in fine-tuning (paper: 0.1), 0 in pretraining.
        set_width: swift: hidden width of the set network that folds an observation.
        patches_per_position: swift: image patches folded into one position; 0 for gato.
        glances: swift: cells of a grid that are looked at together, twice in each timestep; 0: grids are sums of their symbols alone.
        word_stride: swift: in training, one in so many of the words that no target is are scored, each for all of them; 1: every word.
        sees_choices: swift: whether it reads its discrete actions of the past, see `reads`.
        chunk: swift: actions in a row that a timestep's position predicts, its own and those after it; of text one, see `Layout.in_a_row`.
        standardised: gato: observed numbers are bins of what swift sees of them, up to four deviations, not the paper's of mu-law.
        moments: a prompt is so many timesteps spread over a demonstration; 0: its first ones, half of the context (the paper's).
    """

    family: str
    blocks: int
    heads: int
    width: int
    feed_forward: int
    key_size: int
    context: int = 1024
    stochastic_depth: float = 0.0
    dropout: float = 0.0
    set_width: int = 0
    patches_per_position: int = 0
    glances: int = 0
    word_stride: int = 1
    sees_choices: bool = False
    chunk: int = 1
    standardised: bool = False
    moments: int = 0

    def __post_init__(self) -> None:
        if self.family not in ("gato", "swift"):
            raise OpenGatoError(f"family {self.family!r} is unknown: use 'gato' or 'swift'")
        if (self.family == "swift") != (self.patches_per_position > 0 and self.set_width > 0):
            raise OpenGatoError(
                f"patches_per_position {self.patches_per_position} and set_width {self.set_width} do not fit family "
                f"{self.family!r}: both above 0 for swift, both 0 for gato"
            )
        if self.chunk < 1 or (self.chunk > 1 and self.family != "swift"):
            raise OpenGatoError(f"chunk is {self.chunk} for family {self.family!r}: give 1 or more for swift, 1 for gato")

    @property
    def fold(self) -> Fold:
        """The form of the token stream that the model reads."""
        return Fold(self.patches_per_position)

    @property
    def reads_actions(self) -> bool:
        """Whether the model sees its own past control actions, as the paper's does.

        A small model cloned from few demonstrations learns to repeat the last action instead of looking (causal confusion,
        de Haan et al. 2019): swift does not see them.
        """
        return self.family == "gato"

    def reads(self, kind: int) -> bool:
        """Whether the model sees past action tokens of a kind, words among them always.

        Discrete ones tell where one has gone to, among rooms that look alike, and what one tried; a body's show in how it moves.
        """
        return kind == ACTION_TEXT or self.reads_actions or (self.sees_choices and kind == ACTION_DISCRETE)

    @property
    def sees_values(self) -> bool:
        """Whether observed numbers are read as values in standard deviations, not as the paper's tokens."""
        return self.family == "swift"

    @property
    def in_bins(self) -> bool:
        """Whether observed numbers are the paper's tokens, bins of mu-law."""
        return not self.sees_values and not self.standardised

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _gato(blocks: int, heads: int, width: int, feed_forward: int, key_size: int) -> ModelConfig:
    return ModelConfig("gato", blocks, heads, width, feed_forward, key_size, stochastic_depth=0.1)


def swift(depth: int, context: int = 512) -> ModelConfig:
    """The folded model of a depth, its one dial: one block more, 64 times as wide, one head for every 64.

    Rates are the same for every depth (`python benchmarks/dial.py`). Presets are named swift-dN; nano, tiny, small: 2, 3, 8. On two cores
    the smaller learns more in minutes.
    Twenty patches are a position: a 64×64 image or an 80×64 Atari frame is one, two cameras of 128×128 are seven (docs/ablations.md).
    """
    width = 64 * depth
    folded = ModelConfig("swift", depth + 1, depth, width, 4 * width, 64, context, set_width=max(256, width), patches_per_position=20)
    return replace(folded, glances=8, word_stride=16, moments=8)


PRESETS: dict[str, ModelConfig] = {
    "gato-79m": _gato(8, 24, 768, 3072, 32),
    "gato-364m": _gato(12, 12, 1536, 6144, 128),
    "gato-1.2b": _gato(24, 16, 2048, 8192, 128),
    "swift-nano": swift(2, context=128),
    "swift-tiny": swift(3),
    "swift-small": swift(8, context=1024),
}


def preset(name: str) -> ModelConfig:
    """A preset by name; swift-dN for any depth N. Raises OpenGatoError with the nearest match."""
    if dial := re.fullmatch(DIAL, name):
        return swift(int(dial[1]))
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
