"""The ids of the vocabulary and the kinds of tokens (paper, section 2.1 and appendix B).

[0, 32000)       text pieces; discrete values share the ids [0, 1024)
[32000, 33024)   the 1,024 bins of continuous values
33024            the separator '|' between a timestep's observation and its action
"""

TEXT_SIZE = 32_000
DISCRETE_SIZE = 1_024
BINS = 1_024
BIN_START = TEXT_SIZE
SEPARATOR = BIN_START + BINS
VOCABULARY_SIZE = SEPARATOR + 1
PATCH = VOCABULARY_SIZE  # stands in the token stream where an image patch is; never looked up, never predicted

PATCH_SIZE = 16
PATCH_POSITIONS = 128  # vocabulary of quantised row and column positions
LOCAL_POSITIONS = 512  # observation tokens: their index inside the timestep, the last entry for all beyond it
LOCAL_ACTION = LOCAL_POSITIONS  # all action tokens share this one entry
ACTION_NUMBERS = 256  # an action has at most so many numbers: each has its own place in the head that tells them apart

# Kinds: what a token is. Every kind from ACTION_TEXT on is a target of the loss (section 2.3).
# TEXT is an instruction beside an action that is no text; WORD is text that is answered in text, and read word by word.
TEXT, WORD, DISCRETE, CONTINUOUS, IMAGE, SEPARATOR_KIND = range(6)
# Of discrete observations those that are a grid: GRID + n - 1 where each of its cells has n symbols, which stand in a row.
GRID, MOST_SYMBOLS = 6, 4
GRIDS = range(GRID, GRID + MOST_SYMBOLS)
ACTION_TEXT, ACTION_DISCRETE, ACTION_CONTINUOUS = range(GRIDS.stop, GRIDS.stop + 3)
IS_TARGET = ACTION_TEXT

# The ids a target of each kind may have: [start, stop).
TARGET_RANGES = {
    ACTION_TEXT: (0, TEXT_SIZE),
    ACTION_DISCRETE: (0, DISCRETE_SIZE),
    ACTION_CONTINUOUS: (BIN_START, BIN_START + BINS),
}
