"""Makes one game: `python -m opengato.domains.textworld.make_game NAME SEED FILE.z8`, as `games.game_file` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

from opengato.domains.textworld.games import GAMES

_OTHER = 1_000_003  # added to the seed where it has no such game
_TRIES = 20


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
        return
    raise SystemExit(f"{_TRIES} worlds in a row have no such game")


if __name__ == "__main__":
    make_game(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
