"""The playroom itself: a MiniWorld room whose things and requests the seed draws."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from opengato.domains.miniworld import world
from opengato.domains.playroom.requests import (
    ACTION_SPACE,
    COLOURS,
    OBSERVATION_SPACE,
    SHAPES,
    SPEAK,
    Named,
    Request,
    draw,
    is_done,
    is_right,
)

SIZE = 9.0  # metres
LEAST, MOST = 4, 6  # things
STEPS_A_REQUEST = 200


@cache
def _room() -> type:
    from miniworld.entity import Ball, Box, Key

    class Playroom(world.base()):  # type: ignore[misc]
        """`things`, in an order of their own; `requests` of the episode, of which number `current` is asked for now."""

        LIFT_STEPS = 5  # for which a thing is to be held to have been lifted

        def __init__(self, kinds: tuple[tuple[str, ...], ...], **settings: Any):
            self._kinds = kinds
            super().__init__(max_episode_steps=STEPS_A_REQUEST * len(kinds), **settings)
            self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE

        def _gen_world(self) -> None:
            self.add_rect_room(min_x=0, max_x=SIZE, min_z=0, max_z=SIZE, wall_tex="drywall", floor_tex="wood_planks")
            rng: np.random.Generator = self.np_random
            self.requests: list[Request] = []
            while len(self.requests) < len(self._kinds):  # until the things allow all that is to be asked
                named = [Named(str(rng.choice(COLOURS)), str(rng.choice(SHAPES))) for _ in range(rng.integers(LEAST, MOST + 1))]
                drawn = [draw(str(rng.choice(kinds)), named, rng) for kinds in self._kinds]
                self.requests = [request for request in drawn if request is not None]
            self.named = named
            self.things = [self.place_entity(self._made(thing)) for thing in named]
            self.place_agent()
            self.current = self.lifted = 0
            self._looked: set[int] = set()

        @staticmethod
        def _made(named: Named) -> Any:
            if named.shape == "box":
                return Box(color=named.colour, size=0.7)
            return Ball(color=named.colour, size=0.7) if named.shape == "ball" else Key(color=named.colour)

        @property
        def request(self) -> Any:
            return self.requests[min(self.current, len(self.requests) - 1)]

        def _observation(self, image: np.ndarray) -> dict[str, Any]:
            return {"image": image, "request": self.request.words}

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
            image, _ = super().reset(seed=seed, options=options)
            self._look()
            return self._observation(image), {"success": False}

        def _look(self) -> None:
            """Note in which directions, of 24, the agent has looked; a picture shows five at least."""
            ahead = round(self.agent.dir / math.radians(15))
            self._looked |= {(ahead + aside) % 24 for aside in range(-2, 3)}

        @property
        def looked_round(self) -> bool:
            """Whether the agent has looked in every direction since the episode began."""
            return len(self._looked) == 24

        def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict]:
            move = int(action["move"])
            image, _, _, late, _ = super().step(world.DONE if move == SPEAK else move)
            self._look()
            self.lifted = self.lifted + 1 if self.agent.carrying is not None else 0
            request = self.request
            if request.kind == "answer":
                fulfilled = move == SPEAK and is_right(request, action["say"])
                wrong = move == SPEAK and not fulfilled
            else:
                fulfilled, wrong = is_done(request, self), False
            self.current += fulfilled
            over = self.current == len(self.requests)
            ended = over or wrong
            return self._observation(image), float(fulfilled), ended, bool(late) and not ended, {"success": over}

    return Playroom


def make_room(kinds: tuple[tuple[str, ...], ...]) -> Any:
    """A room in which an episode has a request of each of these kinds, see `playroom.TASK_REQUESTS`."""
    return world.make_world(_make_class(), kinds=kinds)


def _make_class() -> type:
    world.base()  # before anything of MiniWorld is imported
    return _room()
