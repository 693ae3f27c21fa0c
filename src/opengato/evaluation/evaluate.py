"""Evaluate an agent on tasks: rollouts from the starts kept for it, scored against the stored references."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from opengato.console import notice, progress
from opengato.datasets.starts import Starts
from opengato.domains import Task, match_tasks, tasks
from opengato.domains.starts import SEEDS, evaluation_seeds
from opengato.domains.task import Reference
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import Agent, Introduction, agent_files, introduced, load_agent
from opengato.evaluation.results import Results, settings_of
from opengato.evaluation.rollout import BATCH, Rollout, rollouts
from opengato.evaluation.score import TaskScore, task_score
from opengato.evaluation.unseen import settings_of_introductions
from opengato.jobs import TIMEOUT_S, Begun, Done, Job, Result, Workers
from opengato.model.precision import Precision


def known_tasks(agent: Agent, patterns: list[str] | None, canonical: bool = False) -> list[Task]:
    """The tasks that the patterns name, by default every task the agent was trained on that has an environment.

    `canonical`: under the rules of published results, see `Task.canonical`.
    """
    if canonical:
        return [task.canonical for task in known_tasks(agent, patterns)]
    if patterns:
        return match_tasks(patterns)
    known = [tasks()[name] for name in agent.layouts if name in tasks()]
    if not known:
        names = ", ".join(agent.layouts)
        raise OpenGatoError(f"this checkpoint knows no task with an environment that is listed, only {names}: name some with --tasks")
    return known


_agent: Agent  # of a worker process


def _start(folder: Path, precision: Precision, introductions: Mapping[str, Introduction]) -> None:
    global _agent
    torch.set_num_threads(1)
    _agent = introduced(load_agent(folder, precision), introductions)


def _start_from(files: dict[str, bytes], precision: Precision, introductions: Mapping[str, Introduction]) -> None:
    """On another machine: the agent has travelled, and is a folder for as long as it takes to load it."""
    with tempfile.TemporaryDirectory(prefix="opengato-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        _start(Path(folder), precision, introductions)


def _work(task: Task, settings: dict[str, Any], seeds: tuple[int, ...]) -> Iterator[Any]:
    return rollouts(_agent, task, seeds, **settings)


def _find_seeds(task: Task, episodes: int, seeds: tuple[int, ...]) -> Iterator[Any]:
    """Which seeds begin at starts of evaluation: asked of the simulator, and so in a process of its own."""
    yield Begun(seeds[0])
    yield Done(seeds[0], evaluation_seeds(task, episodes))


class _LongestFirst:
    """The order of jobs: one of every domain, which tells how long they take, then those of the longest, so that none ends alone."""

    def __init__(self, jobs: list[Job]):
        self._left = jobs
        self._begun: set[str] = set()
        self._seconds: dict[str, list[float]] = defaultdict(list)  # by domain, of an episode

    def take(self) -> Job | None:
        """The next job; None where there is no more."""
        if not self._left:
            return None
        fresh = [job for job in self._left if _domain(job) not in self._begun]
        job = fresh[0] if fresh else max(self._left, key=self._expected)
        self._begun.add(_domain(job))
        self._left.remove(job)
        return job

    def learn(self, result: Result) -> None:
        """What an episode took."""
        self._seconds[_domain(result)].append(result.seconds)

    def _expected(self, job: Job) -> float:
        known = self._seconds[_domain(job)]
        return len(job.seeds) * fmean(known) if known else math.inf  # it runs still


def _domain(of: Job | Result) -> str:
    return str(of.name).split("/")[0]


def score_of(
    task: Task,
    episodes: list[Rollout],
    failed: dict[int, str] | None = None,
    starts: Starts | None = None,
    in_training: bool = True,
) -> TaskScore:
    """The score of a task's finished episodes against its stored references; without any, returns and success alone.

    `starts`: that the agent was trained on; None or without the task where it does not say. `in_training`: whether the task was.
    """
    episodes = sorted(episodes, key=lambda r: r.seed)
    known = set((starts or {})[task.id].tolist()) if starts and task.id in starts else None
    return task_score(
        task.id,
        {r.seed: r.episode_return for r in episodes},
        reference_of(task),
        {r.seed: r.success for r in episodes if r.success is not None},
        failed,
        starts=len({r.start for r in episodes}),
        seen=None if known is None else sum(r.start in known or r.first in known for r in episodes) / max(len(episodes), 1),
        in_training=in_training,
        unmeasurable=_unmeasurable(task),
        human=task.human,
    )


def _unmeasurable(task: Task) -> str | None:
    if task.protocol:
        return f"under {task.protocol} rules success is what counts, and no reference is stored"
    return "there is no expert to measure by" if task.make_expert is None else None


def settings_of_protocol(chosen: list[Task]) -> dict[str, Any]:
    """The rules that tasks are under, as results depend on them; nothing where they are the tasks' own."""
    if len(protocols := {task.protocol for task in chosen}) > 1:
        raise OpenGatoError("some tasks are under canonical rules and others are not: evaluate them apart")
    protocol = "".join(protocols)
    return {"protocol": protocol} if protocol else {}


def reference_of(task: Task) -> Reference | None:
    """The stored reference scores, None where there are none."""
    return task.reference if task.measured else None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        scores: of every task with a finished episode, in the order they were asked for.
        unscored: task -> (seed -> reason) of those where every episode failed.
    """

    scores: list[TaskScore]
    unscored: dict[str, dict[int, str]]


def evaluate(
    folder: Path,
    chosen: list[Task],
    episodes: int,
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    action_steps: int = 1,
    record: int = 0,
    workers: int | None = None,
    timeout_s: float = TIMEOUT_S,
    ray: str | None = None,
    precision: Precision = "float32",
    out: Path | None = None,
    show: bool = True,
    introductions: Mapping[str, Introduction] | None = None,
    finished: Callable[[TaskScore, list[Rollout]], None] | None = None,
) -> Evaluation:
    """Score an agent on each task over `episodes` episodes from the starts that are kept for evaluation.

    An episode whose simulator raises, takes too long or takes its process down is tried once more, alone. Then its seed is reported as
    failed, and the score is that of the others. A task without stored references, or with such as are of no use, gets its return and
    success, and no score.

    Args:
        folder: of a checkpoint or a baseline.
        batch: environments stepped together in a process. temperature, prompt, action_steps: see `rollouts`.
        record: keep frames of this many episodes of each task, the first ones.
        workers: processes; default: one a core, of this machine or the cluster.
        timeout_s: what an episode may take; a process in which for as long no simulator finished a step is killed.
        ray: the address of a Ray cluster to run on, to which the agent is sent.
        precision: of the weights; with fewer bits than they were trained with, results may depend on the batch.
        out: folder where every finished episode is kept at once; those that are there already are not run again, unless to be recorded.
        introductions: of tasks that the agent was not trained on, or with other demonstrations than its own (see `unseen.introduce`).
        finished: called with each task's score and rollouts, by seed, as soon as they are there.

    Raises:
        OpenGatoError: before any work, where a task is neither known to the agent nor introduced, or is not installed, or `out` holds
            results of other settings.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    if episodes < 1 or batch < 1 or action_steps < 1:
        raise OpenGatoError(f"episodes is {episodes}, batch {batch} and action_steps {action_steps}: ask for 1 or more of each")
    agent, introductions = load_agent(folder), introductions or {}
    trained = set(agent.layouts)
    agent = introduced(agent, introductions)
    for task in chosen:
        if not task.available:
            task.make()  # says what to install
        agent.layout(task.id, task.observation_space, task.action_space)
        reference = reference_of(task)
        if show and reference is not None and reference.problem is not None:
            notice(f"{task.id} will have no score: {reference.problem}")
    known = agent.starts
    del agent
    acting = {"temperature": temperature, "prompt": prompt, "action_steps": action_steps}
    sampling = acting | {"precision": precision} | settings_of_introductions(introductions)
    results = Results(out, settings_of(folder, **sampling, **settings_of_protocol(chosen))) if out is not None else None
    start = partial(_start, folder, precision, introductions)
    if ray is not None:
        start = partial(_start_from, {path.name: path.read_bytes() for path in agent_files(folder)}, precision, introductions)
    done: dict[str, list[Rollout]] = {task.id: [] for task in chosen}
    failed: dict[str, dict[int, str]] = {task.id: {} for task in chosen}
    scores: dict[str, TaskScore] = {}

    def settle(task: Task) -> None:
        """Score a task whose episodes are all over."""
        if done[task.id] and len(done[task.id]) + len(failed[task.id]) == episodes:
            done[task.id].sort(key=lambda r: r.seed)
            scores[task.id] = score_of(task, done[task.id], failed[task.id], known, task.id in trained)
            if finished:
                finished(scores[task.id], done[task.id])

    with (
        progress(TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), show=show) as bar,
        Workers(workers, start, timeout_s, ray) as pool,
    ):
        line = bar.add_task("evaluating", total=episodes * len(chosen))
        seeds = {task.id: evaluation_seeds(task, episodes) for task in chosen if not task.few_starts}
        asking = iter([Job(task.id, (task, episodes), (0,)) for task in chosen if task.few_starts])
        for result in pool.run(_find_seeds, lambda: next(asking, None)):
            if result.failure is None:
                seeds[str(result.name)] = result.value
            else:  # a simulator that cannot even be reset
                failed[str(result.name)] = {SEEDS[0]: result.failure}
                bar.update(line, advance=episodes)
        waiting: dict[str, list[int]] = {}
        filmed = {task_id: tuple(of_task[:record]) for task_id, of_task in seeds.items()}
        for task in chosen:
            if task.id not in seeds:
                continue
            kept = {s: r for s, r in (results.of(task.id) if results else {}).items() if s not in filmed[task.id]}
            done[task.id] = [kept[seed] for seed in seeds[task.id] if seed in kept]
            waiting[task.id] = [seed for seed in seeds[task.id] if seed not in kept]
            bar.update(line, advance=len(done[task.id]))
            settle(task)
        jobs = []
        share = -(-sum(map(len, waiting.values())) // pool.count)  # of a worker: more in one job, and another would have none
        for task in [task for task in chosen if waiting.get(task.id)]:
            settings = acting | {"batch": batch, "record": filmed[task.id], "timeout_s": timeout_s}
            # Where one episode ends the next begins: the longer a job, the less of its time is spent waiting for its last.
            size = max(min(batch, share), -(-len(waiting[task.id]) // pool.count))
            parts = (waiting[task.id][first : first + size] for first in range(0, len(waiting[task.id]), size))
            jobs += [Job(task.id, (task, settings), tuple(part)) for part in parts]
        by_id, order = {task.id: task for task in chosen}, _LongestFirst(jobs)
        for result in pool.run(_work, order.take):
            task_id = str(result.name)
            order.learn(result)
            if result.failure is None:
                done[task_id].append(result.value)
                if results:
                    results.add(task_id, result.value)
            else:
                failed[task_id][result.seed] = result.failure
            bar.update(line, description=task_id, advance=1)
            settle(by_id[task_id])
    unscored = {task.id: failed[task.id] for task in chosen if task.id not in scores}
    return Evaluation([scores[task.id] for task in chosen if task.id in scores], unscored)
