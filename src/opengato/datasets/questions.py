"""Questions about pictures: one timestep, an image and a question as observation, the answer as action."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from gymnasium import spaces

from opengato.datasets import captions
from opengato.datasets.dataset import Stream
from opengato.episode import Episode
from opengato.tokens.spaces import text_space

TASK = "questions/emoji"
OBSERVATION_SPACE = spaces.Dict(image=captions.OBSERVATION_SPACE["image"], question=text_space())
ACTION_SPACE = text_space()
NAME, KIND, COLOUR, IS_IT = "what is it?", "what kind of thing is it?", "what colour is it?", "is it of the kind {}?"
_COLOURS = {"red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white"}


def to_episode(image: np.ndarray, question: str, answer: str) -> Episode:
    """An image, uint8 (64, 64, 3), a question and its answer as an episode of one timestep."""
    return Episode({"image": image[None], "question": [question]}, [answer], np.zeros(1, np.float32), TASK, source="human")


def emoji_questions(split: str = "train") -> Stream:
    """The questions on the emoji of a split, see `load_emoji`."""
    name = f"{TASK} {split}"
    return Stream(name, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {captions.fingerprint()}", partial(load_emoji, split))


def load_emoji(split: str = "train") -> Iterator[Episode]:
    """Questions that the shipped emoji table answers, on the pictures of the split "train", "test" or "all" of the captions.

    Of every picture its name, its kind (the Unicode group), whether it is of a kind, which half of the time it is, and its colour where
    the name is a shape of one colour.
    """
    rows = list(captions.emoji(split))
    kinds = sorted({kind for _, _, kind in captions.emoji("all")})
    for image, name, kind in rows:
        yield to_episode(image, NAME, name)
        yield to_episode(image, KIND, kind)
        digest = hashlib.sha256(name.encode()).digest()  # the same choice in every run
        others = [other for other in kinds if other != kind]
        guess = kind if digest[0] % 2 else others[digest[1] % len(others)]
        yield to_episode(image, IS_IT.format(guess), "yes" if guess == kind else "no")
        named = _COLOURS & set(name.split())
        if len(named) == 1 and {"circle", "square", "heart", "diamond", "triangle"} & set(name.split()):
            yield to_episode(image, COLOUR, named.pop())
