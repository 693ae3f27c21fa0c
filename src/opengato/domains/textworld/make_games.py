"""Makes games: reads [name, seed, file] in JSON, line by line, and answers each with what went wrong, "" where nothing did."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from opengato.domains.textworld.games import GAMES
from opengato.errors import OpenGatoError

_OTHER = 1_000_003  # added to the seed where it has no such game
_TRIES = 20
_SERIAL = 0x12  # where it stands in the header, before all that the checksum covers


def make_game(name: str, seed: int, path: Path) -> None:
    """Generate and compile; the same files for the same arguments, where strings are hashed alike."""
    import textworld
    from textworld.challenges import CHALLENGES
    from textworld.generator import compile_game
    from textworld.generator.chaining import QuestGenerationError

    recipe = GAMES[name]
    _, generate, _ = CHALLENGES[recipe.challenge]
    for number in range(_TRIES):
        options = textworld.GameOptions()
        options.seeds = (seed + number * _OTHER) % 2**32
        options.grammar.only_last_action = not recipe.guided
        try:  # a kitchen's dish is drawn by a seed of its own
            game = generate({**recipe.settings, "recipe_seed": options.seeds["quest"]}, options)
        except QuestGenerationError:  # no way of this length in this world
            continue
        options.path = str(path)
        compile_game(game, options)
        with open(path, "r+b") as compiled:  # the serial number of a Z-machine's file is the day on which it was compiled
            compiled.seek(_SERIAL)
            compiled.write(b"000000")
        return
    raise OpenGatoError(f"{_TRIES} worlds in a row have no way of the length asked for")


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the compilers say is no answer
    for line in sys.stdin:
        name, seed, path = json.loads(line)
        try:
            make_game(name, seed, Path(path))
            failed = ""
        except Exception as error:  # whatever a generator or a compiler raises
            failed = f"{type(error).__name__}: {error}"
        print(json.dumps(failed), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
