"""The playroom's expert: it walks by A*, and answers once it has seen what is asked about."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym

from opengato.domains.miniworld import walker
from opengato.domains.miniworld.world import DROP, FORWARD, TURN_LEFT
from opengato.domains.playroom.requests import SPEAK
from opengato.experts.turn_and_walk import Pose

_WELL_SEEN = 4.0  # metres at which a thing has pixels enough to be told
_ASIDE = math.radians(27)  # to either side; the picture ends at 37


def _in_view(world: Any, pose: Pose, thing: Any) -> bool:
    """Whether a thing is well to be seen from a pose, with nothing before it."""
    x, z = float(thing.pos[0]) - pose.x, float(thing.pos[2]) - pose.y
    far, bearing = math.hypot(x, z), math.remainder(math.atan2(-z, x) - pose.angle, 2 * math.pi)
    if far > _WELL_SEEN or abs(bearing) > _ASIDE:
        return False
    for other in world.things:
        if other is thing:
            continue
        a, b = float(other.pos[0]) - pose.x, float(other.pos[2]) - pose.y
        along = (a * x + b * z) / far
        if 0 < along < far and abs(a * z - b * x) / far < other.radius:
            return False
    return True


def _look_at(world: Any, thing: Any) -> walker.Aim:
    place = (float(thing.pos[0]), float(thing.pos[2]), _WELL_SEEN)
    return walker.Aim(lambda pose: _in_view(world, pose, thing), SPEAK, [place])


def _answer(world: Any) -> walker.Aim | int:
    """Look at what is asked about, or all around, and speak."""
    request = world.request
    if request.first >= 0:
        return _look_at(world, world.things[request.first])
    if world.looked_round:
        return SPEAK
    return DROP if world.agent.carrying is not None else TURN_LEFT  # what it holds might bump into things all around


def _errand(world: Any) -> walker.Aim | int:
    """What is next for the request as it stands."""
    request, carried = world.request, world.agent.carrying
    if request.kind == "answer":
        return _answer(world)
    thing = world.things[request.first]
    if request.kind == "go to":
        return DROP if carried is thing else walker.stand_near(world, thing)
    if carried is not None and carried is not thing:
        return DROP
    if carried is None:
        return walker.take(world, [thing], carry=request.kind == "put next to")
    if request.kind == "put next to":
        return walker.put_down_near(world, world.things[request.second])
    turned = walker.pose_of(world).turned(math.radians(15))
    return TURN_LEFT if walker.View(world).allowed(turned, walker.LEFT) else FORWARD  # it is held up meanwhile


class Helper:
    """Fulfils one request after another."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._world: Any = env.unwrapped
        self._walker = walker.Walker(_errand)
        self._walker.reset(env, observation, seed)
        self._asked = -1

    def act(self, observation: Any) -> dict[str, Any]:
        if self._world.current != self._asked:  # what was planned for another request
            self._walker.reset(self._world, observation, 0)
            self._asked = self._world.current
        move = self._walker.act(observation)
        return {"move": move, "say": self._world.request.answer if move == SPEAK else ""}
