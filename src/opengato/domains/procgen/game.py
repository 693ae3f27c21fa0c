"""One of Procgen's games in this process: played, saved and restored to the bit, and its agent's place read out of what was saved.

The library is loaded through gym3's bindings and not through the packages' own modules, which want older versions of what they never use
here. It is told to start no threads, and it starts no process, so that nothing of it is left when Python ends.
"""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

MODES = {"easy": 0, "hard": 1}
_STATE_BYTES = 1 << 20
_FUNCTIONS = ["int get_state(libenv_env *, int, char *, int);", "void set_state(libenv_env *, int, char *, int);"]
_ENTITY = 31  # numbers of four bytes that each thing in a game is saved as, its x and y first
_OPTIONS = {
    "center_agent": True,
    "use_generated_assets": False,
    "use_monochrome_assets": False,
    "restrict_themes": False,
    "use_backgrounds": True,
    "paint_vel_info": False,
    "use_sequential_levels": False,
    "debug_mode": 0,
    "rand_seed": 0,  # a level depends on its number alone
    "num_threads": 0,
    "num_actions": 15,
    "render_human": False,
}


class Game:
    """A level of a game. `frame`: uint8 (64, 64, 3), of now. `reward`, `over`, `complete`: what the last step brought.

    As a step ends the level the library begins it anew: `frame` is then the one before the end.
    """

    def __init__(self, name: str, mode: str, level: int):
        try:
            from gym3.libenv import CEnv
        except ImportError as error:
            raise OpenGatoError(
                f"procgen is here without what it is played through ({error}): pip install cffi, and --no-deps gym3"
            ) from error

        found = importlib.util.find_spec("procgen")  # found, and not imported
        assert found is not None and found.submodule_search_locations is not None
        data = Path(next(iter(found.submodule_search_locations))) / "data"
        options = {
            **_OPTIONS,
            "env_name": name,
            "distribution_mode": MODES[mode],
            "num_levels": 1,
            "start_level": level,
            "resource_root": f"{data / 'assets'}/",
        }
        self._env: Any = CEnv(1, str(data / "prebuilt"), c_func_defs=_FUNCTIONS, options=options)
        self._buffer = self._env._ffi.new(f"char[{_STATE_BYTES}]")
        self.reward, self.over, self.complete = 0.0, False, False
        self.frame: np.ndarray = self._env.observe()[1]["rgb"][0].copy()

    def step(self, action: int) -> None:
        """Play one action, 0 to 14."""
        self._env.act({"action": np.array([action], np.int32)})
        reward, seen, first = self._env.observe()
        self.reward, self.over = float(reward[0]), bool(first[0])
        self.complete = self.over and bool(self._env.get_info()[0]["prev_level_complete"])
        if not self.over:
            self.frame = seen["rgb"][0].copy()

    def save(self) -> bytes:
        """All that the future depends on."""
        length = self._env.call_c_func("get_state", 0, self._buffer, _STATE_BYTES)
        return bytes(self._env._ffi.buffer(self._buffer, length))

    def restore(self, state: bytes) -> None:
        """Go back to what was saved; `frame` stays as it is until the next step."""
        self._env.call_c_func("set_state", 0, state, len(state))
        self.reward, self.over, self.complete = 0.0, False, False

    def close(self) -> None:
        self._env.close()


def entities(state: bytes) -> np.ndarray:
    """Every thing in a saved game, the agent first, float32 (N, 31): x, y, their speeds, radii, and and the rest, some of it int32."""
    at = _after_chance(state) + 15 * 4 + 4  # rewards and clocks, the grid's size
    count = _int(state, at)
    return np.frombuffer(state, np.float32, count * _ENTITY, at + 4).reshape(count, _ENTITY)


def time_limit(state: bytes) -> int:
    """Steps after which a level of the saved game ends as it is."""
    return _int(state, _after_chance(state) + 4 * 4)


def _after_chance(state: bytes) -> int:
    """Where what stands behind the random numbers to come begins, which are kept as text of any length."""
    at = 4
    at += 4 + _int(state, at) + 12 * 4 + 5 * 4  # the name, the options, the level's range and kind
    for _ in range(2):
        at += 8 + _int(state, at + 4)
    return at


def _int(state: bytes, at: int) -> int:
    return struct.unpack_from("<i", state, at)[0]
