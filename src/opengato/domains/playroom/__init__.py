"""Playroom: a room of coloured things, seen through one's own eyes, and English: things to do in it and questions about it.

An episode has two or three requests, one after another: something to do ("put the red ball next to the blue box", "lift the green key",
"go to the yellow ball"), and questions ("what colour is the ball?"), so that acting and speaking mix. The room is MiniWorld's, built anew
each time; the stand-in for DeepMind's Playroom, which was never released.

An observation is the picture, 60×80, and the request. An action is a move, 0 to 6 (turn left, turn right, forward, back, pick up, drop,
speak), and words, which are heard where the move is to speak and "" elsewhere. Each request fulfilled is worth 1; a wrong answer ends the
episode, as does the last request. `info["success"]` tells that all were fulfilled.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym

from opengato.domains.playroom.requests import ACTION_SPACE, OBSERVATION_SPACE
from opengato.domains.task import Expert, Task

# Task name -> the kinds of requests in an episode, in order; of several that stand at one place the seed draws one.
TASK_REQUESTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "go-to": (("go to",),),
    "pick-up": (("pick up",),),
    "lift": (("lift",),),
    "put-next-to": (("put next to",),),
    "answer-colour": (("colour",),),
    "answer-shape": (("shape",),),
    "answer-count": (("count",),),
    "answer-presence": (("presence",),),
    "look-and-answer": (("go to",), ("colour", "shape", "count", "presence")),
    "answer-and-lift": (("colour", "shape", "count", "presence"), ("lift", "pick up")),
    "everything": (("go to", "pick up", "lift", "put next to"), ("colour", "shape", "count", "presence"), ("go to", "lift", "put next to")),
}


def _make_env(name: str) -> gym.Env:
    from opengato.domains.playroom.room import make_room

    return make_room(TASK_REQUESTS[name])


def _make_expert() -> Expert:
    from opengato.domains.playroom.expert import Helper

    return Helper()


def _start(env: gym.Env) -> dict[str, Any]:
    from opengato.domains.miniworld.world import full_state

    world: Any = env.unwrapped
    return {**full_state(env), "requests": "\n".join(request.words for request in world.requests)}


TASKS = [
    Task(
        id=f"playroom/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(_make_env, name),
        make_expert=_make_expert,
        requires="miniworld",
        extra="miniworld",
        expert_name="A* on the true pose; answers by what is in the room",
        has_success=True,
        start=_start,
    )
    for name in TASK_REQUESTS
]
