"""A text game being played, and the guide that knows how it is won."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.textworld.games import GAMES, game_file
from opengato.domains.textworld.words import LONGEST_COMMAND, OBSERVATION_SPACE, Commands
from opengato.errors import OpenGatoError

COOKBOOK = "examine cookbook"
_REFUSED = "You can do nothing of that kind."
# What the interpreter and the library of the games take as an order to themselves, and one command after another.
_TO_THE_PROGRAM = re.compile(
    r"(q|quit|restart|restore|save|undo|oops|again|g|verify|version|script|transcript|notify|score|brief|short|verbose|long|superbrief|"
    r"pronouns|nouns|tw-.*)( .*)?"
)
_STATUS = re.compile(r"\n>\s*-= .*\Z", re.DOTALL)  # the line at the top of the screen, after the answer
_TITLE = re.compile(r"-= (.*?) =-")
_END = re.compile(r"\*\*\* (The End|You lost!) \*\*\*.*\Z", re.DOTALL)


def plain(text: str) -> str:
    """A game's output as running text: titles as sentences, one space for every gap, nothing of what comes after the end."""
    text = _END.sub(r"\1", _STATUS.sub("", text))
    return " ".join(_TITLE.sub(r"\1.", text).split())


class TextGame(gym.Env):
    """One game an episode, see `opengato.domains.textworld`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, name: str):
        self.name = name
        self._commands = Commands()
        self.observation_space, self.action_space = OBSERVATION_SPACE, self._commands
        self._game: Any = None
        self._said = self._recipe = self.command = ""

    @property
    def goal(self) -> str:
        """What is asked for."""
        return plain(self._state.objective)

    @property
    def advice(self) -> list[str]:
        """The commands that win from here, the cookbook read first where it lies at hand; empty where nothing does."""
        read = [COOKBOOK] if not self._recipe and COOKBOOK in self._state.admissible_commands else []
        return [*read, *self._state.policy_commands]

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, str], dict]:
        super().reset(seed=seed)
        import textworld

        number = int(self.np_random.integers(2**31)) if seed is None else seed
        wanted = textworld.EnvInfos(
            description=True, inventory=True, objective=True, admissible_commands=True, policy_commands=True, won=True, lost=True
        )
        self.close()
        self.file = game_file(self.name, number)
        self._game = textworld.start(str(self.file), wanted)
        self._state = self._game.reset()
        self._said = self._recipe = self.command = ""
        self._points, self._steps = 0, 0
        return self._seen(), self._info()

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, dict]:
        self.command = " ".join(re.sub(r"[^a-z0-9'-]+", " ", str(action)[:LONGEST_COMMAND].lower()).split())
        self.command = self.command.partition(" then ")[0]  # more in a row would be done, and not be told
        self._steps += 1
        points, over = self._points, False
        if not self.command or _TO_THE_PROGRAM.fullmatch(self.command):
            self._said = _REFUSED
        else:
            self._state, points, over = self._game.step(self.command)
            self._said = plain(self._state.feedback)
            if self.command == COOKBOOK and COOKBOOK in self._commands.admissible:
                self._recipe = self._said
        reward, self._points = float(points - self._points), int(points)
        late = self._steps >= GAMES[self.name].steps and not over
        return self._seen(), reward, bool(over), late, self._info()

    def _seen(self) -> dict[str, str]:
        room = plain(self._state.description)
        said = "" if self._said == room else self._said
        return {"carrying": plain(self._state.inventory), "goal": self.goal, "recipe": self._recipe, "room": room, "said": said}

    def _info(self) -> dict[str, Any]:
        self._commands.admissible = [command for command in self._state.admissible_commands if len(command) <= LONGEST_COMMAND]
        return {"success": bool(self._state.won), "admissible_commands": list(self._commands.admissible)}

    def render(self) -> np.ndarray:
        """What is read and was said, written on a picture of 480×640."""
        from textwrap import wrap

        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (640, 480), "white")
        seen = self._seen()
        parts = (seen["goal"], seen["recipe"], seen["room"], seen["carrying"], f"> {self.command}", seen["said"])
        lines = [line for part in parts if part for line in (*wrap(part, 100), "")]
        ImageDraw.Draw(picture).text((10, 10), "\n".join(lines), fill="black")
        return np.asarray(picture)

    def close(self) -> None:
        if self._game is not None:
            self._game.close()
            self._game = None


class Guide:
    """TextWorld's own solution, from wherever the game stands; it reads the cookbook where it finds it, as one must who does not know."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._game: Any = env.unwrapped

    def act(self, observation: Any) -> str:
        """Raises OpenGatoError where the game can no longer be won."""
        advice = self._game.advice
        if not advice:
            raise OpenGatoError(f"the game of 'textworld/{self._game.name}' cannot be won any more: begin another episode")
        return advice[0]
