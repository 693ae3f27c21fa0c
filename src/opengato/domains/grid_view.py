"""What is seen of MiniGrid's worlds, BabyAI's among them: the agent's 7×7 view as symbols, or as pixels; and what a start is there."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.grid_sight import quicken
from opengato.tokens.spaces import text_space

# The agent's 7×7 view is symbolic, not a picture: each cell is (object type, colour, state) as small numbers.
VIEW = spaces.MultiDiscrete(np.broadcast_to(np.array([11, 6, 4]), (7, 7, 3)))
OBSERVATION_SPACE = spaces.Dict(direction=spaces.Discrete(4), image=VIEW, mission=text_space(500))
TILE = 16  # pixels of a cell in a picture: a patch of the network is a cell
PIXEL_SPACE = spaces.Dict(
    direction=spaces.Discrete(4), image=spaces.Box(0, 255, (7 * TILE, 7 * TILE, 3), np.uint8), mission=text_space(500)
)
ACTION_SPACE = spaces.Discrete(7)


class SymbolicView(gym.Wrapper):
    """Declares the 7×7 view as the symbols it holds, and reports success where the level's reward was earned."""

    def __init__(self, env: gym.Env, action_space: spaces.Discrete = ACTION_SPACE):
        super().__init__(env)
        quicken(env)
        self.observation_space, self.action_space = OBSERVATION_SPACE, action_space

    def _image(self, raw: dict[str, Any]) -> np.ndarray:
        return raw["image"].astype(np.int64)

    def _observation(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"direction": np.int64(raw["direction"]), "image": self._image(raw), "mission": str(raw["mission"])}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        raw, info = self.env.reset(seed=seed, options=options)
        return self._observation(raw), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict]:
        raw, reward, terminated, truncated, info = self.env.step(int(action))
        return self._observation(raw), float(reward), terminated, truncated, {**info, "success": float(reward) > 0}


class PixelView(SymbolicView):
    """The same view as a picture, 16 pixels a cell, as MiniGrid draws it: the agent at the bottom, looking up."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.observation_space = PIXEL_SPACE

    def _image(self, raw: dict[str, Any]) -> np.ndarray:
        world: Any = self.unwrapped
        return np.asarray(world.get_frame(tile_size=TILE, agent_pov=True), np.uint8)


def start_state(env: gym.Env) -> dict[str, Any]:
    """The whole world, with what is in its boxes, the agent's place, what it carries and its mission."""
    world: Any = env.unwrapped

    def inside(thing: Any) -> list[int]:
        content = getattr(thing, "contains", None)
        return [] if content is None else [*content.encode(), *inside(content)]

    carried = {} if world.carrying is None else {"carried": np.array([*world.carrying.encode(), *inside(world.carrying)])}
    return {
        "grid": world.grid.encode(),
        "boxes": np.array([number for thing in world.grid.grid for number in inside(thing)], np.int64),
        "agent": np.array([*world.agent_pos, world.agent_dir]),
        "mission": str(world.mission),
        **carried,
    }
