"""What the baselines can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """One set for all kinds; each reads what concerns it.

    Attributes:
        width, layers: of the hidden layers. batch: timesteps a step. learning_rate: the first; it falls to 0 linearly by the clock.
        memory: width of a gru's state. sequence: timesteps that it is trained on at a time.
        image_batch: timesteps a step where there are images.
        words: how many of a text's words are seen.
        neighbours: of a lookup. rows_mib: what its observations may take; of more, as many as fit, equally far apart.
        task_id: say which task it is, as one more one-hot; else it is known by what is observed alone.
        own_task: a lookup looks among the demonstrations of its own task only.
    """

    width: int = 512
    layers: int = 3
    batch: int = 512
    learning_rate: float = 1e-3
    memory: int = 256
    sequence: int = 32
    image_batch: int = 128
    words: int = 32
    neighbours: int = 5
    rows_mib: int = 512
    task_id: bool = False
    own_task: bool = False
