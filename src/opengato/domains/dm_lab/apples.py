"""Apples in the right order: a room of MiniWorld, built anew each time, as a stand-in for DM Lab's `order_of_apples_forage_simple`.

Three apples of different colours lie in the room; the seed draws the colours and in which order they are to be eaten, which nothing shows.
Coming near an apple eats it. The next of the order is worth 1; any other is worth nothing, all three lie anew, and the order begins again.
Once all were eaten in order three more lie elsewhere, for which the same order holds, until 400 steps are over. So what was tried must be
remembered: who does so errs three times at most. `info["success"]` tells that two rounds were finished.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.miniworld import walker, world
from opengato.domains.miniworld.world import PICTURE

COLOURS = ("blue", "green", "grey", "purple", "red", "yellow")
APPLES = 3
STEPS = 400
_SIZE = 7.0  # metres, of the room
_STEP, _TURN = 0.3, 15  # metres and degrees of a move
_APART = 2.5  # metres between apples, and from the agent, as they are laid: wide enough to go around one


@cache
def _room() -> type:
    from miniworld.entity import Ball
    from miniworld.params import DEFAULT_PARAMS

    class Apples(world.base()):  # type: ignore[misc]
        """`apples` that lie in the room, by colour; `order` of the colours; `eaten` of them in this round; finished `rounds`.

        `wrong`: by how many were eaten before it in the round, the colours that were tried there, and were not the next.
        `right`: how much of the order was found out.
        """

        def __init__(self, **settings: Any):
            params = DEFAULT_PARAMS.no_random()
            params.set("forward_step", _STEP)
            params.set("turn_step", _TURN)
            super().__init__(max_episode_steps=STEPS, params=params, **settings)
            self.observation_space, self.action_space = PICTURE, spaces.Discrete(3)

        def _gen_world(self) -> None:
            self.add_rect_room(min_x=0, max_x=_SIZE, min_z=0, max_z=_SIZE, wall_tex="brick_wall", floor_tex="grass")
            self.order = [str(colour) for colour in self.np_random.permutation(COLOURS)[:APPLES]]
            self.eaten = self.rounds = self.right = 0
            self.wrong: list[set[str]] = [set() for _ in range(APPLES)]
            self.apples: dict[str, Any] = {}
            self.place_agent()
            self._lay()

        def _lay(self) -> None:
            """All three anew, in an order that says nothing."""
            for apple in self.apples.values():
                self.entities.remove(apple)
            self.apples = {}
            for colour in sorted(self.order):
                apple = Ball(color=colour, size=0.6)
                while True:
                    self.place_entity(apple)
                    if all(math.dist(apple.pos, other.pos) >= _APART for other in (*self.apples.values(), self.agent)):
                        break
                    self.entities.remove(apple)
                self.apples[colour] = apple

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
            image, _ = super().reset(seed=seed, options=options)
            return image, {"success": False}

        def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
            image, _, _, late, _ = super().step(int(action))
            reward, found = 0.0, [colour for colour, apple in self.apples.items() if self.near(apple)]
            for colour in found[:1]:  # they lie too far apart for two
                reward = self._eat(colour)
                image = self.render_obs()  # without it
            return image, reward, False, bool(late), {"success": self.rounds >= 2}

        def _eat(self, colour: str) -> float:
            if colour != self.order[self.eaten]:
                self.wrong[self.eaten].add(colour)
                self.eaten = 0
                self._lay()
                return 0.0
            self.entities.remove(self.apples.pop(colour))
            self.eaten += 1
            self.right = max(self.right, self.eaten)
            if self.eaten == APPLES:
                self.eaten, self.rounds = 0, self.rounds + 1
                self._lay()
            return 1.0

        def may_be_next(self) -> list[str]:
            """The colours in the room that may be the next of the order, by what was tried in this episode."""
            if self.eaten < self.right:
                return [self.order[self.eaten]]
            return [colour for colour in self.apples if colour not in self.wrong[self.eaten]]

    return Apples


def make_apples() -> Any:
    """The room, its class made once MiniWorld can be imported."""
    world.base()
    return world.make_world(_room())


def _next_apple(world: Any) -> walker.Aim:
    """To the nearest apple that may be next, past those that may not."""
    pose = walker.pose_of(world)
    places = {colour: (float(apple.pos[0]), float(apple.pos[2])) for colour, apple in world.apples.items()}
    wanted = min(world.may_be_next(), key=lambda colour: math.dist(places[colour], (pose.x, pose.y)))
    others = [
        (*place, walker.near_distance(world, world.apples[colour], world.agent)) for colour, place in places.items() if colour != wanted
    ]
    return walker.stand_near(world, world.apples[wanted], shunned=others)


class Forager(walker.Walker):
    """Tries what may be next, and remembers, as an agent must: it does not look at the order."""

    def __init__(self) -> None:
        super().__init__(_next_apple)

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        super().reset(env, observation, seed)
        self._known = (-1, -1, -1)

    def act(self, observation: Any) -> int:
        world = self._world
        known = (world.rounds, world.eaten, sum(map(len, world.wrong)))
        if known != self._known:  # what was planned is eaten, or was moved
            super().reset(world, observation, 0)
            self._known = known
        return super().act(observation)
