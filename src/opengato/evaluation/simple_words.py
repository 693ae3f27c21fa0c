"""The simplest agents that answer about pictures: what stands beside a network's score."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from opengato.episode import Episode

_SIDE = 8  # pictures are compared in so many cells a side


def look(picture: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), as the mean colours of 8 × 8 cells of it, float32 (192,)."""
    rows, columns = (np.linspace(0, size, _SIDE + 1).astype(int)[:-1] for size in picture.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.float32), rows, 0), columns, 1)
    counts = np.outer(np.diff(np.append(rows, picture.shape[0])), np.diff(np.append(columns, picture.shape[1])))
    return (sums / counts[..., None]).ravel()


@dataclass
class SimpleAnswers:
    """What was said most, what was said most to the same question, and what was said of the nearest picture, to the same question if any.

    Filled by `see`; a caption is an answer to no question.
    """

    most: Counter[str] = field(default_factory=Counter)
    by_question: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    looks: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def see(self, episodes: Iterable[Episode]) -> SimpleAnswers:
        """Learn what is said in episodes of one timestep."""
        for episode in episodes:
            question, answer = question_of(episode), episode.actions[0]
            self.most[answer] += 1
            self.by_question[question][answer] += 1
            self.looks[question].append(look(np.asarray(episode.observations["image"])[0]))
            self.said[question].append(answer)
        return self

    def answers(self, episode: Episode) -> dict[str, str]:
        """Baseline -> its answer; nothing where nothing was seen."""
        if not self.most:
            return {}
        question = question_of(episode)
        known = self.by_question.get(question)
        found = {"most frequent": self.most.most_common(1)[0][0]}
        if question:
            found["question only"] = (known or self.most).most_common(1)[0][0]
        # A question nobody asked is answered by the nearest picture of any.
        asked = [question] if known else list(self.looks)
        mine = look(np.asarray(episode.observations["image"])[0])
        distances = [np.square(np.stack(self.looks[key]) - mine).sum(1) for key in asked]
        best = min(range(len(asked)), key=lambda i: distances[i].min())
        found["nearest picture"] = self.said[asked[best]][int(distances[best].argmin())]
        return found


def question_of(episode: Episode) -> str:
    """What an episode of one timestep asks of its picture; nothing of a caption."""
    return str(episode.observations["question"][0]) if "question" in episode.observations else ""
