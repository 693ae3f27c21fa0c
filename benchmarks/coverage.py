"""How often 95% intervals of a score hold the truth, by how the returns of episodes are spread: simulated.

    python benchmarks/coverage.py --out benchmarks/results/coverage.json

Scores of the agent are drawn, and returns of the random agent (50 episodes, mean 0) and the expert (10 episodes, mean 100), against which
they are measured. *ours* is `evaluation.score`; the percentile bootstrap over episodes is what was there before. *mean* is that of 20 tasks
of unlike difficulty, each counted at most 100: over tasks and episodes (the truth is the mean of all tasks that could have been drawn), and
over the episodes of these tasks. Two minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from opengato.domains.task import Reference
from opengato.evaluation.interval import wilson
from opengato.evaluation.score import TaskScore, mean_intervals, task_score

Rng = np.random.Generator
Draw = Callable[[Rng, int], np.ndarray]


def success(p: float) -> Draw:
    """The expert's score with probability p, and else the random agent's."""
    return lambda rng, n: np.where(rng.random(n) < p, 100.0, 0.0) + rng.normal(0, 3, n)


# name -> draw of n scores, and their mean.
SPREADS: dict[str, tuple[Draw, float]] = {
    "normal, 60 ± 20": (lambda rng, n: rng.normal(60, 20, n), 60),
    "narrow, 97 ± 2": (lambda rng, n: rng.normal(97, 2, n), 97),
    "bimodal, half and half": (success(0.5), 50),
    "80% success": (success(0.8), 80),
    "95% success": (success(0.95), 95),
    "skewed, exponential of 30": (lambda rng, n: rng.exponential(30, n), 30),
}
N_RANDOM, N_EXPERT = 50, 10


def measured(rng: Rng, spread: Draw, n: int) -> TaskScore:
    """A task's score as an evaluation finds it: agent, random agent and expert are all samples."""
    random, expert = rng.normal(0, 10, N_RANDOM), 100 + rng.normal(0, 10, N_EXPERT)
    reference = Reference(random.mean(), expert.mean(), N_RANDOM, N_EXPERT, "", random.std(ddof=1), expert.std(ddof=1))
    return task_score("a/b", dict(enumerate(spread(rng, n).tolist())), reference)


def bootstrap(rng: Rng, values: np.ndarray) -> tuple[float, float]:
    means = values[rng.integers(len(values), size=(1_000, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def scores(n: int, trials: int) -> dict[str, dict[str, float]]:
    """Spread -> per cent of trials in which the interval holds the mean, and how wide it is on average."""
    out = {}
    for name, (spread, truth) in SPREADS.items():
        rng = np.random.default_rng(n)
        hits, widths = {"bootstrap": 0, "ours": 0}, {"bootstrap": 0.0, "ours": 0.0}
        for _ in range(trials):
            found = measured(rng, spread, n)
            assert found.score is not None and found.ci_low is not None and found.ci_high is not None
            assert found.random is not None and found.expert is not None
            values = 100 * (np.array(list(found.returns.values())) - found.random) / (found.expert - found.random)
            for method, (low, high) in {"bootstrap": bootstrap(rng, values), "ours": (found.ci_low, found.ci_high)}.items():
                hits[method] += low <= truth <= high
                widths[method] += high - low
        out[name] = {f"{m}": 100 * hits[m] / trials for m in hits} | {f"{m} width": widths[m] / trials for m in hits}
    return out


def successes(n: int, trials: int) -> dict[str, float]:
    """Probability -> per cent of trials in which Wilson's interval holds it."""
    rng = np.random.default_rng(n)
    out = {}
    for p in (0.5, 0.8, 0.9, 0.95, 0.99):
        intervals = [wilson(int(hits), n) for hits in rng.binomial(n, p, trials)]
        out[f"{p:.0%}"] = 100 * sum(low <= p <= high for low, high in intervals) / trials
    return out


def means(n: int, trials: int, tasks: int = 20) -> dict[str, float]:
    """Per cent of trials in which the two intervals of a mean over tasks hold theirs; a task is a probability of success."""
    rng = np.random.default_rng(n)
    all_hits = these_hits = 0
    for _ in range(trials):
        levels = rng.beta(4, 1, tasks)
        found = [measured(rng, success(p), n) for p in levels]
        over_tasks, over_episodes = mean_intervals(found)
        # A task that counts at most 100 loses what chance brought it above: the truth is clipped alike.
        all_hits += over_tasks[0] <= 80 <= over_tasks[1]
        these_hits += over_episodes[0] <= 100 * levels.mean() <= over_episodes[1]
    return {"over tasks and episodes": 100 * all_hits / trials, "over episodes of these tasks": 100 * these_hits / trials}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="JSON of the tables")
    a = parser.parse_args()
    table = {
        str(n): {"scores": scores(n, a.trials), "success": successes(n, 20 * a.trials), "mean": means(n, a.trials // 4)} for n in a.episodes
    }
    print("| per cent of intervals that hold the truth (width) |" + "".join(f" n = {n}: bootstrap | ours |" for n in a.episodes))
    print("|---" + "|---" * 2 * len(a.episodes) + "|")
    for name in SPREADS:
        rows = [table[str(n)]["scores"][name] for n in a.episodes]
        cells = (f" {r['bootstrap']:.0f} ({r['bootstrap width']:.0f}) | {r['ours']:.0f} ({r['ours width']:.0f}) |" for r in rows)
        print(f"| {name} |" + "".join(cells))
    for kind in ("success", "mean"):
        for name in table[str(a.episodes[0])][kind]:
            label = f"Wilson, success {name}" if kind == "success" else f"mean of 20 tasks, {name}"
            print(f"| {label} |" + "".join(f" | {table[str(n)][kind][name]:.0f} |" for n in a.episodes))
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(
            json.dumps({"trials": a.trials, "n_random": N_RANDOM, "n_expert": N_EXPERT, "by_episodes": table}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
