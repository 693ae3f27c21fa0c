"""What is asked for in the playroom, in which spaces, and when it is fulfilled. A request knows the room's things by their words alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.domains.miniworld.world import PICTURE
from opengato.tokens.spaces import text_space

MOST_WORDS = 40  # characters of what is said
SPEAK = 6  # the move that makes words heard
OBSERVATION_SPACE = spaces.Dict(image=PICTURE, request=text_space(100))
ACTION_SPACE = spaces.Dict(move=spaces.Discrete(SPEAK + 1), say=text_space(MOST_WORDS))

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
COLOURS = ("blue", "green", "grey", "purple", "red", "yellow")
SHAPES = ("ball", "box", "key")


@dataclass(frozen=True)
class Named:
    """A thing as words name it: "red ball"."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Request:
    """One thing asked for.

    Attributes:
        words: the sentence. kind: "go to", "pick up", "lift", "put next to", or "answer".
        first, second: numbers of the things it is about, in the order in which the room has them; -1: none.
        answer: what is to be said; "" where something is to be done.
    """

    words: str
    kind: str
    first: int = -1
    second: int = -1
    answer: str = ""


def draw(kind: str, things: list[Named], rng: np.random.Generator) -> Request | None:
    """A request of this kind that these things allow, unmistakable and answerable; None where there is none.

    Questions are drawn so that each answer is as likely as the room lets it be: of presence, yes as often as no.
    """
    only = [i for i, thing in enumerate(things) if things.count(thing) == 1]
    if kind in ("go to", "pick up", "lift"):
        if not only:
            return None
        i = int(rng.choice(only))
        return Request(f"{kind} the {things[i]}", kind, i)
    if kind == "put next to":
        if len(only) < 2:
            return None
        i, j = (int(n) for n in rng.choice(only, 2, replace=False))
        return Request(f"put the {things[i]} next to the {things[j]}", kind, i, j)
    if kind == "colour":
        shapes = [thing.shape for thing in things]
        single = [i for i, shape in enumerate(shapes) if shapes.count(shape) == 1]
        if not single:
            return None
        i = int(rng.choice(single))
        return Request(f"what colour is the {shapes[i]}?", "answer", i, answer=things[i].colour)
    if kind == "shape":
        colours = [thing.colour for thing in things]
        single = [i for i, colour in enumerate(colours) if colours.count(colour) == 1]
        if not single:
            return None
        i = int(rng.choice(single))
        return Request(f"what is the {colours[i]} thing?", "answer", i, answer=f"a {things[i].shape}")
    if kind == "count":
        shape = str(rng.choice(SHAPES))
        plural = {"ball": "balls", "box": "boxes", "key": "keys"}[shape]
        return Request(f"how many {plural} are there?", "answer", answer=NUMBERS[sum(thing.shape == shape for thing in things)])
    assert kind == "presence"
    if rng.integers(2):
        i = int(rng.integers(len(things)))
        return Request(f"is there a {things[i]} in the room?", "answer", i, answer="yes")
    absent = [Named(colour, shape) for colour in COLOURS for shape in SHAPES if Named(colour, shape) not in things]
    return Request(f"is there a {absent[int(rng.integers(len(absent)))]} in the room?", "answer", answer="no")


def is_done(request: Request, world: Any) -> bool:
    """Whether what was asked for has been done, in a room as it stands."""
    thing, carried = world.things[request.first], world.agent.carrying
    if request.kind == "go to":
        return bool(world.near(thing))
    if request.kind == "pick up":
        return carried is thing
    if request.kind == "lift":
        return carried is thing and world.lifted >= world.LIFT_STEPS
    assert request.kind == "put next to"
    return carried is None and bool(world.near(thing, world.things[request.second]))


def is_right(request: Request, said: str) -> bool:
    """Whether this is the answer, however it is capitalised and with or without "a" and a full stop."""

    def plain(words: str) -> list[str]:
        return [word for word in words.lower().replace(".", " ").split() if word not in ("a", "an", "the", "it", "is")]

    return plain(said) == plain(request.answer)
