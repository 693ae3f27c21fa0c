"""Small datasets of several domains for the mixture's tests; an arm's action says which episode and timestep it is of."""

from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.store import TokenDataset
from opengato.datasets.text import to_episode
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()


def arm(root: Path, task: str, lengths: list[int], returns: list[float] | None = None, numbers: int = 3) -> TokenDataset:
    """Episodes of these lengths and returns, by two agents in turn."""
    returns = returns or [float(length) for length in lengths]
    episodes = []
    for number, (length, total) in enumerate(zip(lengths, returns, strict=True)):
        # Repeating fractions, which no library draws otherwise.
        seen = (np.arange(length * numbers).reshape(length, numbers) * 0.37 + number) % 5 - 2
        rewards = np.zeros(length, np.float32)
        rewards[-1] = total
        done = np.stack([np.full(length, number), np.arange(length)], 1)
        episodes.append(Episode(seen.astype(np.float32), done, rewards, task, source=f"agent {number % 2}"))
    box = spaces.Box(-99, 99, (numbers,), np.float32)
    return tokenise(Episodes(task, box, spaces.MultiDiscrete([1000, 1000]), episodes, str((lengths, returns, numbers))), TOKENIZER, root)


def pictures(root: Path, task: str, lengths: list[int]) -> TokenDataset:
    """Small pictures and one of four actions."""
    episodes = [
        Episode(
            ((np.arange(length * 32 * 48 * 3) * 7 + number) % 256).reshape(length, 32, 48, 3).astype(np.uint8),
            np.arange(length) % 4,
            np.ones(length, np.float32),
            task,
        )
        for number, length in enumerate(lengths)
    ]
    return tokenise(Episodes(task, spaces.Box(0, 255, (32, 48, 3), np.uint8), spaces.Discrete(4), episodes, str(lengths)), TOKENIZER, root)


def talk(root: Path, task: str, turns: int = 3) -> TokenDataset:
    """Six conversations."""
    said = [Episode(["how are you"] * turns, [f"fine, thank you {n}"] * turns, np.zeros(turns, np.float32), task) for n in range(6)]
    return tokenise(Episodes(task, text_space(), text_space(), said, str(turns)), TOKENIZER, root)


def text(root: Path, task: str = "text/plain") -> TokenDataset:
    """A long document and twenty short ones."""
    texts = [" ".join(map(str, range(2000))), *(f"a short one, number {n}" for n in range(20))]
    return tokenise(Episodes(task, spaces.Dict({}), text_space(), list(map(to_episode, texts)), "1"), TOKENIZER, root)
