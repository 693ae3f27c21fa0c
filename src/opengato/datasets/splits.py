"""Which of what ships with the package is kept from training, to be scored on: a fixed twentieth, by a hash of what it is."""

from __future__ import annotations

import hashlib


def held_out(name: str) -> bool:
    """Whether what has this name, or says this, belongs to the test split."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20 == 0


def in_split(name: str, split: str) -> bool:
    """Whether it belongs to a split: "train", "test" or "all"."""
    return split == "all" or held_out(name) == (split == "test")
