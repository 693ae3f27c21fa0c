"""What a baseline's words are worth, where no environment can tell: their likelihood on pictures that training never saw."""

from __future__ import annotations

from pathlib import Path

from opengato.baselines.baseline import Baseline
from opengato.datasets import captions, questions
from opengato.datasets.cache import build_cache
from opengato.evaluation.agent import Agent


def held_out_nats(agent: Agent, cache: Path | None = None) -> dict[str, float]:
    """Task -> mean nats a token of what is said of the held-out shipped pictures, of a baseline that learned captions or questions.

    One part in a hundred of the probability is spread over all tokens, as held-out texts have some that training never had. `cache`:
    folder of tokenised data; default: the user's.
    """
    nats = {}
    for module in (captions, questions):
        if isinstance(agent, Baseline) and module.TASK in agent.layouts:
            known = (module.TASK, module.OBSERVATION_SPACE, module.ACTION_SPACE)
            data = build_cache(*known, module.load_emoji("test"), agent.tokenizer, f"{captions.fingerprint()} test", cache)
            nats[module.TASK] = agent.loss(data)
    return nats
