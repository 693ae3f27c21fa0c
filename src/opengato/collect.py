"""Experts at work, recorded as Minari datasets.

Every finished episode is first written to a staging folder, atomically, so that an interruption loses none; when a task is complete
its episodes become (or extend) the Minari dataset `opengato/<domain>/<name>-v0`. An episode is a pure function of (task, seed, noise).
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains import Expert, Task, get_task
from opengato.episode import Episode, leaves, stack
from opengato.errors import OpenGatoError

EPISODE_SECONDS = 900  # an episode that takes longer is given up: its expert or its simulator hangs
_CHUNK_SECONDS = 2.0  # a job goes on with further seeds for about this long


def dataset_id(task: Task) -> str:
    """The Minari dataset of a task: "opengato/<domain>/<name>-v0"."""
    return f"opengato/{task.id}-v0"


def record_episode(task: Task, env: gym.Env, expert: Expert, seed: int, noise: float = 0.0) -> tuple[Episode, Any]:
    """Let the expert act for one episode; returns it and the observation after its last action.

    With `noise`, runs of one to six random actions are executed now and then, about this share of all steps, in every second episode
    (odd seeds); what is recorded is always the expert's advice, so that the data shows the way back (DART, Laskey et al. 2017).
    """
    rng = np.random.default_rng(seed)
    env.action_space.seed(int(rng.integers(2**31)))
    observation, _ = env.reset(seed=seed)
    expert.reset(env, observation, seed)
    observations, actions, rewards = [observation], [], []
    noisy = noise > 0 and seed % 2 == 1
    random_left, random_steps, success = 0, 0, None
    while True:
        advice = expert.act(observation)
        executed = advice
        if noisy:
            if random_left == 0 and rng.random() < 2 * noise / 3.5:
                random_left, perturbed = int(rng.integers(1, 7)), env.action_space.sample()
            if random_left > 0:
                random_left -= 1
                random_steps += 1
                executed = perturbed
        observation, reward, terminated, truncated, info = env.step(executed)
        observations.append(observation)
        actions.append(advice)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    if task.has_success:
        success = bool(info.get("success", False))
    episode = Episode(
        stack(observations[:-1]),
        stack(actions),
        np.array(rewards, np.float32),
        task.id,
        "expert",
        success,
        seed,
        {"noise": random_steps / len(actions), "terminated": bool(terminated)},
    )
    return episode, observation


def _to_arrays(episode: Episode, final: Any) -> dict[str, np.ndarray]:
    """An episode as plain arrays; strings as UTF-8 bytes and their ends, so that any Unicode survives."""
    out: dict[str, np.ndarray] = {"rewards": episode.rewards}
    meta = {"task": episode.task, "source": episode.source, "success": episode.success, "seed": episode.seed, "info": episode.info}
    out["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    for side, nested, last in (("o", episode.observations, final), ("a", episode.actions, None)):
        tail = dict(leaves(last)) if last is not None else {}
        for path, leaf in leaves(nested):
            if isinstance(leaf, list):
                encoded = [text.encode() for text in [*leaf, *([tail[path]] if tail else [])]]
                out[f"{side}|{path}|bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
                out[f"{side}|{path}|ends"] = np.cumsum([len(e) for e in encoded])
            else:
                out[f"{side}|{path}"] = np.concatenate([leaf, np.asarray(tail[path])[None]]) if tail else leaf
    return out


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    partial = path.with_suffix(f".partial-{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise OpenGatoError(
                f"the disk of {path.parent} is full: free some space and run the same command again, finished episodes are kept"
            ) from None
        raise


_worker: dict[str, Any] = {}


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop


def _alarm(*_: Any) -> None:
    raise TimeoutError(f"longer than {EPISODE_SECONDS} s")


def _job(task_id: str, seeds: list[int], noise: float, folder: str) -> tuple[list[int], list[tuple[int, str]], float]:
    """Record the first of `seeds`, and more of them while it is quick; returns the seeds done, those that failed, and the seconds used."""
    started = time.perf_counter()
    if _worker.get("task") != task_id:
        if "env" in _worker:
            _worker["env"].close()
        _worker.clear()
        task = get_task(task_id)
        assert task.make_expert is not None
        _worker.update(task=task_id, env=task.make(), expert=task.make_expert())
    done, failed = [], []
    signal.signal(signal.SIGALRM, _alarm)
    for seed in seeds:
        signal.alarm(EPISODE_SECONDS)
        try:
            episode, final = record_episode(get_task(task_id), _worker["env"], _worker["expert"], seed, noise)
            signal.alarm(0)
            _write(Path(folder) / f"{seed:08d}.npz", _to_arrays(episode, final))
            done.append(seed)
        except OpenGatoError as error:
            if "disk" in str(error):
                raise
            failed.append((seed, str(error)))
        except (TimeoutError, AssertionError, ValueError, RecursionError) as error:
            failed.append((seed, repr(error)))
        finally:
            signal.alarm(0)
        if time.perf_counter() - started > _CHUNK_SECONDS:
            break
    return done, failed, time.perf_counter() - started


class _Collection:
    """What one task still needs."""

    def __init__(self, task: Task, episodes: int, seed: int, root: Path, noise: float, budget: float | None):
        self.task, self.episodes, self.seed, self.noise, self.budget = task, episodes, seed, noise, budget
        self.dataset = root / dataset_id(task)
        self.staging = root / ".staging" / task.id
        self.staging.mkdir(parents=True, exist_ok=True)
        manifest = self.dataset / "opengato.json"
        self.recorded: list[int] = json.loads(manifest.read_text())["seeds"] if manifest.is_file() else []
        self.staged = sorted(int(p.stem) for p in self.staging.glob("*.npz"))
        have = {*self.recorded, *self.staged}
        self.done = len(have)
        self.next_seeds: Iterator[int] = (s for s in range(seed, seed + 100_000_000) if s not in have)
        self.pending = 0
        self.used = 0.0
        self.failures: list[tuple[int, str]] = []

    def take(self, count: int) -> list[int]:
        """The next seeds to record; empty when enough are done or under way, or when the time is used up."""
        over = self.budget is not None and self.used >= self.budget and self.done + self.pending > 0
        too_many = len(self.failures) > 5 + 2 * self.episodes
        count = 0 if over or too_many else min(count, self.episodes - self.done - self.pending)
        seeds = [next(self.next_seeds) for _ in range(max(count, 0))]
        self.pending += len(seeds)
        return seeds


def collect(
    tasks: list[Task],
    episodes: int | dict[str, int],
    out: Path | None = None,
    *,
    workers: int | None = None,
    seed: int = 0,
    noise: float | dict[str, float] = 0.0,
    time_budget_s: dict[str, float] | None = None,
    progress: bool = True,
) -> list[str]:
    """Record expert demonstrations until every task has `episodes` of them; returns the ids of the datasets.

    Args:
        episodes: of each task, or by task id.
        out: the folder of the datasets; default: Minari's own.
        workers: processes; default: one a core.
        seed: of the first episode; the others follow.
        noise: see `record_episode`; one number, or by task id.
        time_budget_s: task id -> seconds of one core after which no new episode is begun (at least one is recorded).
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    root = out if out is not None else _minari_root()
    for task in tasks:
        if task.make_expert is None:
            raise OpenGatoError(f"task {task.id!r} has no expert: it only has data")
        if not task.available:
            task.make()
    jobs = [
        _Collection(
            t,
            episodes[t.id] if isinstance(episodes, dict) else episodes,
            seed,
            root,
            noise.get(t.id, 0.0) if isinstance(noise, dict) else noise,
            (time_budget_s or {}).get(t.id),
        )
        for t in tasks
    ]
    with Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not progress
    ) as bar:
        bars = {job.task.id: bar.add_task(job.task.id, total=job.episodes, completed=min(job.done, job.episodes)) for job in jobs}
        if any(job.done < job.episodes for job in jobs):
            for job, added in _run(jobs, workers or os.cpu_count() or 1):
                bar.update(bars[job.task.id], advance=added)
        for job in jobs:
            if job.done == 0:
                reason = job.failures[0][1] if job.failures else "no time"
                raise OpenGatoError(f"no episode of {job.task.id!r} could be recorded: {reason}")
            assemble(job.task, job.staging, job.dataset, job.recorded, job.noise)
            bar.update(bars[job.task.id], total=job.done, completed=job.done)
    for job in jobs:
        if job.failures:
            print(f"{job.task.id}: {len(job.failures)} seeds gave no episode, the first {job.failures[0][0]}: {job.failures[0][1]}")
    return [dataset_id(t) for t in tasks]


def _run(jobs: list[_Collection], workers: int) -> Iterator[tuple[_Collection, int]]:
    """Keep every worker busy; yields (task's collection, episodes added)."""
    # Simulators are single-threaded; two threads a worker would only fight over the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    running: dict[Future, tuple[_Collection, list[int]]] = {}
    try:
        while True:
            for job in jobs:  # in order: a worker stays with a task, and so with its simulator
                while len(running) < workers and (seeds := job.take(1 if job.used == 0 and job.pending == 0 else 20)):
                    running[pool.submit(_job, job.task.id, seeds, job.noise, str(job.staging))] = (job, seeds)
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job, seeds = running.pop(future)
                done, failed, seconds = future.result()
                job.pending -= len(seeds)
                job.used += seconds
                job.done += len(done)
                job.failures += failed
                touched = {*done, *(s for s, _ in failed)}
                rest = [s for s in seeds if s not in touched]
                if rest:
                    tail = job.next_seeds
                    job.next_seeds = _chain(rest, tail)
                yield job, len(done)
    except BrokenProcessPool:
        raise OpenGatoError(
            "a collecting process was killed (out of memory?): run the same command again with fewer --workers, finished episodes are kept"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _chain(first: list[int], rest: Iterator[int]) -> Iterator[int]:
    yield from first
    yield from rest


def _minari_root() -> Path:
    return Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))


def assemble(task: Task, staging: Path, dataset: Path, recorded: list[int], noise: float) -> None:
    """Make the staged episodes part of the task's Minari dataset, then delete them."""
    from opengato.datasets.minari import write_minari

    files = sorted(staging.glob("*.npz"))
    seeds = [int(p.stem) for p in files]
    fresh = [(p, s) for p, s in zip(files, seeds) if s not in set(recorded)]
    if fresh:
        write_minari(task, dataset, [p for p, _ in fresh], extend=bool(recorded), noise=noise)
        manifest = dataset / "opengato.json"
        partial = manifest.with_suffix(".partial")
        partial.write_text(json.dumps({"seeds": sorted([*recorded, *(s for _, s in fresh)])}))
        os.replace(partial, manifest)
    shutil.rmtree(staging, ignore_errors=True)
