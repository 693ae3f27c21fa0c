"""MiniWorld's rooms, made to run without a screen and beside one another in one process; shared by the domains that are built of them.

An action is 0 to 7: turn left, turn right, forward, back, pick up, drop, toggle, done, of which a task may know only the first few.
Lengths are metres, and a picture is 60×80.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

TURN_LEFT, TURN_RIGHT, FORWARD, BACK, PICK_UP, DROP, TOGGLE, DONE = range(8)
PICTURE = spaces.Box(0, 255, (60, 80, 3), np.uint8)
VIDEO = (240, 320)  # height and width of what `render` shows


class _Lists:
    """Stands in for the display lists of MiniWorld's module, which keeps every world's walls in list 1.

    All worlds of a process share their lists, so that each would show the walls of the one that was reset last.
    """

    def __init__(self, gl: Any):
        self._gl, self.number = gl, 1

    def new(self, _: int, mode: int) -> None:
        self._gl.glNewList(self.number, mode)

    def call(self, _: int) -> None:
        self._gl.glCallList(self.number)

    def delete(self, _: int, count: int) -> None:
        self._gl.glDeleteLists(self.number, count)


@cache
def _simulator() -> Any:
    """MiniWorld's module, its lists our own."""
    import pyglet

    pyglet.options["headless"] = True  # before anything of it opens a window
    # Of machines with a graphics card the first device need not be one that this user may use: Mesa's software renderer always is.
    from pyglet import gl, image
    from pyglet.image.codecs import ImageDecoder, get_decoders

    class Pixels(ImageDecoder):
        """Pictures as RGBA at once: pyglet would make it of RGB by a regular expression over every pixel, three seconds a texture."""

        def get_file_extensions(self) -> list[str]:
            return [".png"]

        def decode(self, file: Any, filename: str) -> Any:
            from PIL import Image

            picture = Image.open(file or filename).convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            return image.ImageData(*picture.size, "RGBA", picture.tobytes())

    get_decoders.__self__._decoder_extensions[".png"].insert(0, Pixels())  # the first that knows a file is asked

    from miniworld import miniworld

    miniworld.lists = _Lists(gl)
    miniworld.glNewList, miniworld.glCallList, miniworld.glDeleteLists = miniworld.lists.new, miniworld.lists.call, miniworld.lists.delete
    return miniworld


class _World:
    """What is changed in a world of MiniWorld: it keeps its walls to itself, and lets go of its window."""

    _walls = 0

    def _render_static(self) -> None:
        simulator = _simulator()
        if not self._walls:
            from pyglet import gl

            self._walls = gl.glGenLists(1)
        simulator.lists.number = self._walls
        super()._render_static()  # type: ignore[misc]

    def _render_world(self, frame_buffer: Any, render_agent: bool) -> np.ndarray:
        _simulator().lists.number = self._walls
        return super()._render_world(frame_buffer, render_agent)  # type: ignore[misc]

    def close(self) -> None:
        window: Any = getattr(self, "shadow_window", None)
        if window is None:
            return
        self.shadow_window = None
        from pyglet import gl

        window.switch_to()
        gl.glDeleteLists(self._walls, 1)
        window.close()


def base() -> type:
    """The class that a world of one's own derives from: `MiniWorldEnv`, imported when it is asked for."""
    return _own(_simulator().MiniWorldEnv)


@cache
def _own(world: type) -> type:
    return type(world.__name__, (_World, world), {})


def bundled(name: str) -> type:
    """A level that MiniWorld brings, "Maze", as a class."""
    _simulator()
    from miniworld import envs

    return _own(getattr(envs, name))


def make_world(world: type, **settings: Any) -> Any:
    """A world of this class, quietly: MiniWorld says on standard output how many samples a pixel gets.

    `settings`: what the class itself takes, such as `size`.
    """
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        # The picture of `render` is small: at MiniWorld's own size its buffers take 120 MB a world.
        return world(render_mode="rgb_array", window_height=VIDEO[0], window_width=VIDEO[1], **settings)


def full_state(env: gym.Env) -> dict[str, Any]:
    """Walls, things and the agent of a world, wherever they came from."""
    world: Any = env.unwrapped
    things = [thing for thing in world.entities if thing is not world.agent]
    return {
        "walls": np.round(world.wall_segs, 6),
        "kinds": "\n".join(_kind(thing) for thing in things),
        "places": np.array([[*thing.pos, thing.dir] for thing in things], np.float64),
        "agent": np.array([*world.agent.pos, world.agent.dir], np.float64),
    }


def _kind(thing: Any) -> str:
    return " ".join([type(thing).__name__, str(getattr(thing, "color", "")), str(getattr(thing, "str", "")), f"{thing.radius:.6f}"])
