"""Recipes: a model, the weights of its mixture and how it is trained, under one name each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from opengato.errors import OpenGatoError, unknown
from opengato.mixture import Sampling
from opengato.model.config import DIAL
from opengato.training.loop import TrainConfig
from opengato.training.optimiser import PAPER, SWIFT, OptimiserConfig

# Table 1 of the paper, in per cent, by our domains. Its four captioning datasets are one domain here, and so are its two of questions.
TABLE_1 = {
    "dm-lab": 9.35,
    "atari": 9.5,
    "atari-extended": 10.0,
    "sokoban": 1.33,
    "babyai": 9.06,
    "dm-control": 4.62,
    "dm-control-pixels": 7.07,
    "dm-control-random-small": 3.04,
    "dm-control-random-large": 3.04,
    "metaworld": 8.96,
    "procgen": 5.34,
    "rgb-stacking": 1.33,
    "rgb-stacking-real": 1.33,
    "modular-rl": 8.23,
    "dm-manipulation": 1.68,
    "playroom": 1.33,
    "text": 6.7,
    "pages": 4.0,  # M3W
    "captions": 4 * 0.67,
    "questions": 2 * 0.67,
}

# The four tasks that the paper keeps from its network to fine-tune it on them later (section 5.2).
HELD_OUT = ("dm-control/cartpole-swingup", "metaworld/assembly", "dm-lab/order-of-apples-forage-simple", "atari/boxing")

PAPER_SAMPLING = Sampling(return_threshold=0.8)
# An episode that noise drove off course shows the way back, at a lower return: none is left out.
SWIFT_SAMPLING = Sampling(prompt_share=0.5, short_share=0.8)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        model: preset. train: steps, batch, optimiser.
        weights: domain -> sample weight, over whichever are present; None weighs all domains the same.
        sampling: how windows are drawn; what a prompt is, the model tells.
        held_out: tasks that are not trained on, whatever the data.
        needs, takes, reaches: for people: data, time, result.
    """

    model: str
    train: TrainConfig
    needs: str
    takes: str
    reaches: str
    weights: dict[str, float] | None = None
    sampling: Sampling = PAPER_SAMPLING
    held_out: tuple[str, ...] = ()
    about: str = field(default="")


def _paper(model: str, takes: str, rate: float = PAPER.learning_rate) -> Recipe:
    return Recipe(
        model,
        TrainConfig(steps=1_000_000, batch=512, optimiser=replace(PAPER, learning_rate=rate), checkpoint_every=1800.0),
        needs="any of Table 1's domains",
        takes=takes,
        reaches="the paper: over 450 of 604 tasks at half the expert or better, at 1.2b; not measured here",
        weights=TABLE_1,
        held_out=HELD_OUT,
        about="the paper's: AdamW, 15,000 steps of warm-up, cosine to a tenth",
    )


def _swift(model: str, steps: int, batch: int, takes: str, reaches: str) -> Recipe:
    return Recipe(
        model,
        TrainConfig(steps=steps, batch=batch, optimiser=SWIFT),
        needs="any datasets; domains weigh the same",
        takes=takes,
        reaches=reaches,
        sampling=SWIFT_SAMPLING,
        about="Muon and AdamW, linear decay",
    )


RECIPES: dict[str, Recipe] = {
    "gato-79m": _paper("gato-79m", "an accelerator"),
    "gato-364m": _paper("gato-364m", "several accelerators", 2e-4),
    "gato-1.2b": _paper("gato-1.2b", "many accelerators; the paper: 16×16 TPU v3, about four days"),
    "swift-nano": _swift("swift-nano", 5000, 8, "ten minutes on two cores", "as `opengato demo`, see the README"),
    "swift-tiny": _swift("swift-tiny", 8000, 2, "an hour on one core", "docs/ablations.md: 95% of Meta-World in 25 minutes"),
    "swift-small": _swift("swift-small", 20_000, 4, "an accelerator", "not measured yet"),
}

# The paper's fine-tuning (section 5.2); all but the dropout is unconfirmed.
FINETUNE = Recipe(
    "",
    TrainConfig(
        steps=10_000,
        batch=64,
        optimiser=OptimiserConfig(learning_rate=1e-5, warmup=0, schedule="constant", weight_decay=0.0),
    ),
    needs="demonstrations of the new task",
    takes="hours on two cores",
    reaches="the paper: the expert at 10 to 100 episodes",
    sampling=Sampling(),
)
# What few demonstrations have to say is said in a few hundred small steps. Muon's are as large in every direction, those too that no
# demonstration speaks of: at three tenths of its rate they undo what was learned before (docs/performance.md, few demonstrations).
FINETUNE_SWIFT = Recipe(
    "",
    TrainConfig(
        steps=1000,
        batch=4,
        optimiser=OptimiserConfig(learning_rate=1e-4, warmup=5, schedule="linear", final=0.02, weight_decay=0.0),
    ),
    needs="demonstrations of the new task",
    takes="some five minutes of a core for swift-tiny, reckoned from shorter runs",
    reaches="docs/performance.md, few demonstrations",
    sampling=SWIFT_SAMPLING,
)


def finetune_recipe(family: str, adapters: bool = False, new: bool = False) -> Recipe:
    """How a checkpoint of a model family is fine-tuned: `gato` as in the paper, `swift` in small steps.

    In larger ones where they are of `adapters`, or where what is observed is `new` to it, so that it must learn to read first.
    """
    if family == "gato":
        return FINETUNE
    optimiser = FINETUNE_SWIFT.train.optimiser
    rate = optimiser.learning_rate * (10 if adapters else 5 if new else 1)
    return replace(FINETUNE_SWIFT, train=replace(FINETUNE_SWIFT.train, optimiser=replace(optimiser, learning_rate=rate)))


def recipe(name: str) -> Recipe:
    """A recipe by name; swift-dN, for any depth N, trains as swift-tiny. Raises OpenGatoError with the nearest match."""
    if re.fullmatch(DIAL, name):
        return replace(RECIPES["swift-tiny"], model=name, takes="", reaches="")
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def resolve_weights(wanted: dict[str, float] | None, present: set[str]) -> tuple[dict[str, float], list[str]]:
    """The weights of the domains that are there, summing to 1, and the wanted domains that are not; those of tasks stay as they are.

    Raises OpenGatoError for a domain that is there but has no weight.
    """
    if wanted is not None and (tasks := {name: weight for name, weight in wanted.items() if "/" in name}):
        domains, without_data = resolve_weights({name: weight for name, weight in wanted.items() if "/" not in name} or None, present)
        return domains | tasks, without_data
    if wanted is None:
        return {domain: 1 / len(present) for domain in sorted(present)}, []
    without = sorted(present - set(wanted))
    if without:
        likely = sum(wanted.values()) / max(len(wanted), 1) or 1.0
        all_of_them = " ".join(f"{domain} {wanted.get(domain, likely):g}" for domain in sorted(present))
        raise OpenGatoError(f"domain {without[0]!r} has no weight in this recipe: give each one, for example --weights {all_of_them}")
    kept = {domain: weight for domain, weight in wanted.items() if domain in present}
    total = sum(kept.values())
    if total <= 0:
        raise OpenGatoError(f"the weights of {sorted(present)} are all 0: give one of them more")
    return {domain: weight / total for domain, weight in kept.items()}, [domain for domain in wanted if domain not in present]
