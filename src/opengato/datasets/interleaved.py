"""Pages of text and pictures: one timestep a picture, which is observed, and the text that follows it, which is the action.

What a page says before its first picture is a timestep whose picture is empty. Words are predicted from the pictures and words before
them, as they stand on the page, and a page whose pictures come late is read as any text is. A text that is longer than a context is cut
where windows are drawn (mixture/sampling.py), and not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from opengato.datasets.photographs import Picture, image_space
from opengato.datasets.reading import Budget
from opengato.episode import Episode


@dataclass(frozen=True)
class Seen:
    """A picture of a page: its file's path, or its bytes."""

    source: str | bytes


def observation_space(budget: Budget) -> spaces.Dict:
    """Of pages whose pictures are within a budget."""
    return spaces.Dict(image=image_space(budget))


def to_episode(parts: Sequence[str | Seen], task: str, size: tuple[int, int], where: str) -> Episode:
    """A page as an episode. Raises ValueError where it has no words.

    Args:
        parts: texts and pictures in order. size: of the pictures, height and width. where: which page, for people.
    """
    sources: list[str | bytes | None] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Seen):
            sources.append(part.source)
            texts.append("")
        elif part.strip():
            if not texts:
                sources.append(None)
                texts.append("")
            texts[-1] = f"{texts[-1]}\n{part.strip()}".lstrip("\n")
    while texts and not texts[-1]:  # pictures that nothing follows say nothing of what to do
        sources.pop()
        texts.pop()
    if not texts:
        raise ValueError("the page has no words")
    return Episode({"image": Picture(tuple(sources), size, where)}, texts, np.zeros(len(texts), np.float32), task, source="human")
