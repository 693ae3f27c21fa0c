"""ViZDoom as an environment, its process bound to this one: however this one ends, no game is left behind."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

PICTURE = spaces.Box(0, 255, (60, 80, 3), np.uint8)

# Runs in the process that becomes the game: the kernel kills it as soon as the thread that started it is gone, as all are when Python is
# killed. A game whose parent went before the kernel was asked ends at once.
_BIND = "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[2:])"


@dataclass(frozen=True)
class Scenario:
    """One scenario as a task.

    Attributes:
        config: ViZDoom's own file for it. buttons: the sets of buttons, by name, that an action holds down; action 0 is always none.
        skip: tics (of 35 a second) that an action is held. tics: the episode's limit. world: another file than the configuration's.
        level: the map in it. arguments: of the game's own command line.
    """

    config: str
    buttons: tuple[tuple[str, ...], ...]
    skip: int = 4
    tics: int = 2100
    world: str | None = None
    level: str | None = None
    arguments: str = ""

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(1 + len(self.buttons))

    def action(self, *buttons: str) -> int:
        """The action that holds exactly these buttons."""
        return 0 if not buttons else 1 + self.buttons.index(buttons)


def _launcher(folder: Path, game: str) -> Path:
    """A program that starts the game bound to this process, in place of the game itself; ViZDoom is told to run it."""
    path = folder / "vizdoom"
    if sys.platform != "linux":
        return Path(game)
    command = [sys.executable, "-I", "-S", "-c", _BIND, str(os.getpid()), game]
    # In a folder that goes with it, since the game makes one of its own, and empty, wherever it is.
    path.write_text(f'#!/bin/sh\ncd {shlex.quote(str(folder))} && exec {shlex.join(command)} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Doom(gym.Env):
    """One scenario: 60×80 colour pictures without the status bar, and sets of buttons held for a few tics.

    `game` is ViZDoom's own object, with what experts need of it: objects, sectors and labels. The game's process starts at the first
    reset and ends with `close`, or with this process.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, scenario: Scenario):
        self.observation_space, self.action_space = PICTURE, scenario.action_space
        self.scenario = scenario
        self.game: Any = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self.metadata = {**self.metadata, "render_fps": max(1, 35 // scenario.skip)}

    def _open(self) -> Any:
        import vizdoom

        scenario, game = self.scenario, vizdoom.DoomGame()
        self._folder = tempfile.TemporaryDirectory(prefix="opengato-vizdoom-")
        game.load_config(os.path.join(vizdoom.scenarios_path, f"{scenario.config}.cfg"))
        game.set_vizdoom_path(str(_launcher(Path(self._folder.name), vizdoom.exe_path)))
        game.set_doom_config_path(os.path.join(self._folder.name, "settings.ini"))  # which the game writes, elsewhere in the working folder
        if scenario.world is not None:
            game.set_doom_game_path(os.path.join(vizdoom.install_path, scenario.world))
            game.set_doom_scenario_path("")
        if scenario.level is not None:
            game.set_doom_map(scenario.level)
        # Off altogether: a game that merely plays none still mixes it, and is ended by an assertion of OpenAL's on some maps.
        game.add_game_args(f"-nosound {scenario.arguments}")
        self.buttons = list(dict.fromkeys(button for held in scenario.buttons for button in held))
        game.set_available_buttons([getattr(vizdoom.Button, button) for button in self.buttons])
        game.set_window_visible(False)
        game.set_render_hud(False)
        game.set_sound_enabled(False)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_episode_timeout(scenario.tics + game.get_episode_start_time())
        game.set_objects_info_enabled(True)
        game.set_sectors_info_enabled(True)
        game.set_labels_buffer_enabled(True)
        game.init()
        return game

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if self.game is None:
            self.game = self._open()
        self.seed = int(self.np_random.integers(2**31))
        self.game.set_seed(self.seed)
        self.game.new_episode()
        self._screen = self.game.get_state().screen_buffer
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        held = self.scenario.buttons[int(action) - 1] if action else ()
        reward = float(self.game.make_action([float(button in held) for button in self.buttons], self.scenario.skip))
        over = bool(self.game.is_episode_finished())
        state = self.game.get_state()
        if state is not None:
            self._screen = state.screen_buffer
        late = over and bool(self.game.is_episode_timeout_reached()) and not self.game.is_player_dead()
        return self._observation(), reward, over and not late, late, {}

    def _observation(self) -> np.ndarray:
        from PIL import Image

        return np.asarray(Image.fromarray(self._screen).resize((80, 60), Image.Resampling.BOX))

    def render(self) -> np.ndarray:
        return self._screen

    def close(self) -> None:
        if self.game is not None:
            self.game.close()
            self.game = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def full_state(env: gym.Env) -> dict[str, Any]:
    """Everything there is and where it is; with monsters around, the number that their dice begin with as well."""
    doom: Any = env.unwrapped
    things = sorted(doom.game.get_state().objects, key=lambda thing: thing.id)
    places = [(thing.position_x, thing.position_y, thing.position_z, thing.angle) for thing in things]
    dice = doom.seed if any(thing.category == "Monster" for thing in things) else 0
    return {"names": " ".join(thing.name for thing in things), "places": np.array(places, np.float64), "dice": dice}


def singly(*buttons: str) -> tuple[tuple[str, ...], ...]:
    """Sets of one button each."""
    return tuple((button,) for button in buttons)


def also(buttons: Sequence[tuple[str, ...]], *more: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Sets of buttons and some more."""
    return (*buttons, *more)
