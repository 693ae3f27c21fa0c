"""Experts at work, recorded as Minari datasets.

Every finished episode is first staged on disk, atomically, so that an interruption loses none; then the staged episodes become (or
extend) the Minari dataset `opengato/<domain>/<name>-v0`. An episode is a pure function of (task, seed, noise), wherever it ran. Starts that
are kept for evaluation (see `domains.starts`) are passed over, whatever the seeds.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.starts import SEEDS, is_evaluation, start_of
from opengato.domains.task import Expert, Task
from opengato.episode import Episode, Nested, leaves, map_leaves, stack
from opengato.errors import OpenGatoError
from opengato.jobs import TIMEOUT_S, Begun, Done, Job, Result, Workers

_CHUNK_SECONDS = 2.0  # a job has as many seeds as take about this long
_CHUNK_EPISODES = 20
_MOST_NOISE = 0.4
_MOST_PASSED = 200  # seeds of evaluation's starts in a row: then all of the task's are


def dataset_id(task: Task) -> str:
    """The Minari dataset of a task: "opengato/<domain>/<name>-v0"."""
    return f"opengato/{task.id}-v0"


# ---- one episode ----------------------------------------------------------------------------------------------------------------


class Noise:
    """Bursts of one held random action, 1 to `burst` steps long, in episodes of odd seeds; none in the others (DART, Laskey et al. 2017).

    `share` is that of random steps among all steps of all episodes, so a perturbed episode has twice as much.
    """

    def __init__(self, share: float, burst: int, seed: int, space: spaces.Space, rng: np.random.Generator):
        self._space, self._rng, self._burst, self._left, self._action = space, rng, burst, 0, None
        # Bursts of mean length m that begin with probability p on a free step fill f = pm / (pm + 1 - p) of the steps.
        f, mean = (2 * share if seed % 2 else 0.0), (1 + burst) / 2
        self._begin = f / (mean - f * (mean - 1))
        self.steps = 0

    def __call__(self, advice: Any) -> Any:
        """The action to execute: the expert's advice, or a random one."""
        if self._left == 0 and self._begin > 0 and self._rng.random() < self._begin:
            self._left, self._action = int(self._rng.integers(1, self._burst + 1)), self._space.sample()
        if self._left == 0:
            return advice
        self._left -= 1
        self.steps += 1
        return self._action


def within(space: spaces.Space, action: Any) -> Any:
    """The action, clipped to the bounds of the space's boxes; of the space's dtypes there."""
    if isinstance(space, spaces.Dict):
        return {key: within(part, action[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(within(part, one) for part, one in zip(space.spaces, action, strict=True))
    return np.clip(action, space.low, space.high).astype(space.dtype) if isinstance(space, spaces.Box) else action


def _copy(observation: Any) -> Any:
    """What is recorded is what was seen: simulators use an array again, and some experts write into it."""
    return map_leaves(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, observation)


def record_episode(task: Task, env: gym.Env, expert: Expert, seed: int, noise: float = 0.0) -> tuple[Episode, Any]:
    """Let the expert act for one episode; returns it and the observation after its last action.

    With `noise` in [0, 0.4], about this share of the executed actions is random; what is recorded is always the expert's advice for
    the state it is in, so that the data shows the way back. `Episode.info` has the executed share as "noise", "return", whether the
    episode "terminated" (or else was truncated), and the hash of its full starting state as "start", 16 digits.
    """
    rng = np.random.default_rng(seed)
    env.action_space.seed(int(rng.integers(2**31)))
    disturb = Noise(noise, task.burst, seed, env.action_space, rng)
    observation, _ = env.reset(seed=seed)
    start = f"{start_of(task, env, observation):016x}"
    expert.reset(env, observation, seed)
    observations, actions, rewards = [_copy(observation)], [], []
    terminated = truncated = False
    info: dict[str, Any] = {}
    while not (terminated or truncated):
        advice = within(env.action_space, expert.act(observation))  # as simulators take it, which clip
        observation, reward, terminated, truncated, info = env.step(disturb(advice))
        observations.append(_copy(observation))
        actions.append(advice)
        rewards.append(float(reward))
    episode = Episode(
        stack(observations[:-1]),
        stack(actions),
        np.array(rewards, np.float32),
        task.id,
        "expert",
        bool(info.get("success", False)) if task.has_success else None,
        seed,
        {"noise": disturb.steps / len(actions), "terminated": bool(terminated), "start": start},
    )
    episode.info["return"] = episode.episode_return
    return episode, observation


# ---- staging: an episode as a file ----------------------------------------------------------------------------------------------


def pack_episode(episode: Episode, final: Any) -> bytes:
    """An episode of T steps and the observation after it as the bytes of a file."""
    meta = {"task": episode.task, "source": episode.source, "success": episode.success, "seed": episode.seed, "info": episode.info}
    arrays = {"rewards": episode.rewards, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    tail = [leaf for _, leaf in leaves(final)]
    for side, nested, ends in (("observation", episode.observations, tail), ("action", episode.actions, [])):
        for index, (_, leaf) in enumerate(leaves(nested)):
            if isinstance(leaf, list):
                # UTF-8 and where each string ends: NumPy's own strings lose trailing NULs.
                encoded = [text.encode() for text in [*leaf, *ends[index : index + 1]]]
                arrays[f"{side}.{index}"] = np.frombuffer(b"".join(encoded), np.uint8)
                arrays[f"{side}.{index}.ends"] = np.cumsum([len(e) for e in encoded], dtype=np.int64)
            else:
                arrays[f"{side}.{index}"] = np.concatenate([leaf, np.asarray(ends[index], leaf.dtype)[None]]) if ends else leaf
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def save_episode(path: Path, packed: bytes) -> None:
    """Write a packed episode, whole or not at all; raises OpenGatoError where the disk is full."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with full_disk_is_an_error(path.parent):
        try:
            partial.write_bytes(packed)
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def load_episode(path: Path, task: Task) -> tuple[Episode, Nested]:
    """What `pack_episode` packed: the episode of T steps, and all T + 1 observations, nested like the task's space."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}

    def rebuild(space: spaces.Space, side: str, position: Iterator[int]) -> Nested:
        if isinstance(space, spaces.Dict):
            parts = {key: rebuild(space[key], side, position) for key in sorted(space.spaces)}
            return {key: parts[key] for key in space.spaces}
        if isinstance(space, spaces.Tuple):
            return tuple(rebuild(sub, side, position) for sub in space.spaces)
        name = f"{side}.{next(position)}"
        if f"{name}.ends" not in arrays:
            return arrays[name]
        raw, ends = arrays[name].tobytes(), arrays[f"{name}.ends"].tolist()
        return [raw[a:b].decode() for a, b in zip([0, *ends[:-1]], ends)]

    observations = rebuild(task.observation_space, "observation", iter(range(len(arrays))))
    actions = rebuild(task.action_space, "action", iter(range(len(arrays))))
    meta = json.loads(arrays["meta"].tobytes())
    first = map_leaves(lambda leaf: leaf[:-1], observations)
    episode = Episode(first, actions, arrays["rewards"], meta["task"], meta["source"], meta["success"], meta["seed"], meta["info"])
    return episode, observations


@contextmanager
def full_disk_is_an_error(folder: Path) -> Iterator[None]:
    """Turns the operating system's "no space left" into one sentence."""
    try:
        yield
    except OSError as error:
        # shutil.copytree wraps its errors into one without a number, h5py into the text.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise OpenGatoError(
                f"the disk of {folder} is full: free some space and run the same command again, finished episodes are kept"
            ) from None
        raise


def _check(space: spaces.Space, nested: Nested, steps: int, field: str) -> None:
    """Stop where what was recorded does not fit the task's space: it would only fail at training."""
    if isinstance(space, spaces.Dict):
        if not isinstance(nested, dict) or set(nested) != set(space.spaces):
            raise OpenGatoError(f"{field} has {nested.keys() if isinstance(nested, dict) else type(nested)}, not {list(space.spaces)}")
        for key, sub in space.spaces.items():
            _check(sub, nested[key], steps, f"{field}.{key}")
    elif isinstance(space, spaces.Tuple):
        if not isinstance(nested, tuple) or len(nested) != len(space.spaces):
            raise OpenGatoError(f"{field} is not a tuple of {len(space.spaces)}")
        for index, sub in enumerate(space.spaces):
            _check(sub, nested[index], steps, f"{field}.{index}")
    elif isinstance(space, spaces.Text):
        if not isinstance(nested, list):
            raise OpenGatoError(f"{field} is not text, as its space says")
    else:
        shape, dtype = space.shape or (), space.dtype or nested.dtype
        if nested.shape != (steps, *shape) or not np.can_cast(nested.dtype, dtype, "same_kind"):
            raise OpenGatoError(f"{field} has shape {nested.shape[1:]} and type {nested.dtype}, its space has {shape} and {dtype}")
        if np.issubdtype(nested.dtype, np.floating) and np.isnan(nested).any():
            raise OpenGatoError(f"{field} is NaN at step {int(np.argmax(np.isnan(nested).reshape(steps, -1).any(1)))}")


# ---- a worker -------------------------------------------------------------------------------------------------------------------

_worker: dict[str, Any] = {}  # the task this process is at, its environment and expert: importing a simulator costs seconds


def _let_go() -> None:
    if "env" in _worker:
        try:
            _worker["env"].close()
        except Exception:  # it may be broken: that is why it is let go
            pass
    _worker.clear()


def _record(task: Task, noise: float, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a collecting process: an episode a seed, packed; None where its start is evaluation's."""
    for seed in seeds:
        yield Begun(seed)
        try:
            if _worker.get("task") != task.id:
                _let_go()
                assert task.make_expert is not None
                _worker.update(env=task.make(), expert=task.make_expert(), task=task.id)
            if is_evaluation(task, _worker["env"], seed):
                yield Done(seed, None)
                continue
            episode, final = record_episode(task, _worker["env"], _worker["expert"], seed, noise)
            _check(task.observation_space, episode.observations, len(episode), "observation")
            _check(task.action_space, episode.actions, len(episode), "action")
            packed = pack_episode(episode, final)  # half of a surrogate pair cannot be
        except Exception:  # whatever the expert or the simulator raises
            _let_go()  # the next episode must not depend on what this one left behind
            raise
        yield Done(seed, packed)


# ---- the collection of many -----------------------------------------------------------------------------------------------------


class _Collection:
    """What one task has and still needs.

    Seeds are taken in order, so that the N episodes are those of the first N seeds that work and whose starts are not evaluation's.
    """

    def __init__(self, task: Task, episodes: int, seed: int, root: Path, noise: float, budget: float | None, deadline: float):
        from opengato.datasets.minari import recorded_seeds

        self.task, self.episodes, self.seed, self.noise, self.budget, self.deadline = task, episodes, seed, noise, budget, deadline
        self.dataset = root / dataset_id(task)
        self.staging = root / ".staged" / task.id
        with full_disk_is_an_error(root):
            self.staging.mkdir(parents=True, exist_ok=True)
        have = {*recorded_seeds(self.dataset), *(int(p.stem) for p in self.staging.glob("*.npz"))}
        self.done = len(have)
        kept = range(0) if task.few_starts else SEEDS
        self._unused = (s for s in range(seed, seed + 100_000_000) if s not in have and s not in kept)
        self.under_way = 0
        self.used, self.added, self.passed = 0.0, 0, 0
        self.failures: list[tuple[int, str]] = []

    @property
    def begun(self) -> bool:
        return self.under_way > 0 or self.used > 0 or self.done >= self.episodes

    @property
    def seconds_each(self) -> float:
        return self.used / max(self.added + len(self.failures), 1)

    def take(self) -> list[int]:
        """The next seeds to record; empty when enough are done or under way, or when the time is used up."""
        spent = time.monotonic() >= self.deadline or (self.budget is not None and self.used >= self.budget)
        hopeless = len(self.failures) > 5 + 2 * self.episodes or self.passed > _MOST_PASSED
        missing = self.episodes - self.done - self.under_way
        if hopeless or missing <= 0 or (spent and self.done + self.under_way > 0):
            return []
        known = self.added + len(self.failures) > 0
        quick = int(_CHUNK_SECONDS / max(self.seconds_each, 1e-3)) if known and not spent else 1
        seeds = [next(self._unused) for _ in range(max(1, min(quick, _CHUNK_EPISODES, missing)))]
        self.under_way += len(seeds)
        return seeds

    def give(self, result: Result) -> None:
        """What became of a seed."""
        self.under_way -= 1
        self.used += result.seconds
        if result.failure is not None:
            self.failures.append((result.seed, result.failure))
            return
        if result.value is None:
            self.passed += 1
            return
        self.passed = 0
        save_episode(self.staging / f"{result.seed:08d}.npz", result.value)
        self.done += 1
        self.added += 1


def collect(
    tasks: list[Task],
    episodes: int | dict[str, int],
    out: Path | None = None,
    *,
    workers: int | None = None,
    seed: int = 0,
    noise: float | dict[str, float] = 0.0,
    timeout_s: float = TIMEOUT_S,
    time_budget_s: float | dict[str, float] | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> list[str]:
    """Record expert demonstrations until every task has `episodes` of them; returns the ids of the datasets.

    Run again, it goes on where it stopped; asked for more, it extends the datasets. An episode whose expert or simulator fails twice
    (raises, takes too long, or takes its process down) is reported, and replaced by that of the next seed.

    Args:
        tasks: each must have an expert and be importable by name in another process (no lambdas).
        episodes: of each task, or by task id.
        out: the folder of the datasets; default: Minari's own ($MINARI_DATASETS_PATH).
        workers: processes; default: one a core, of this machine or the cluster.
        seed: of the first episode; the others follow.
        noise: see `record_episode`, in [0, 0.4]; one number, or by task id.
        timeout_s: the process of an episode that takes longer is killed: its expert or its simulator hangs.
        time_budget_s: no new episode begins after this, though every task gets at least one. A number: seconds of the whole
            collection. By task id: seconds that workers have spent on this task.
        ray: the address of a Ray cluster to record on; the episodes are staged here.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from opengato.datasets.minari import default_root

    root = (out if out is not None else default_root()).absolute()
    budgets = time_budget_s if isinstance(time_budget_s, dict) else {}
    deadline = time.monotonic() + time_budget_s if isinstance(time_budget_s, int | float) else math.inf
    jobs = []
    for task in tasks:
        wanted = episodes[task.id] if isinstance(episodes, dict) else episodes
        share = noise.get(task.id, 0.0) if isinstance(noise, dict) else noise
        _validate(task, wanted, share)
        jobs.append(_Collection(task, wanted, seed, root, share, budgets.get(task.id), deadline))

    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, disable=not progress) as bar:
        had = {j.task.id: min(j.done, j.episodes) for j in jobs}
        line = {j.task.id: bar.add_task(j.task.id, total=j.episodes, completed=had[j.task.id], visible=len(jobs) < 30) for j in jobs}
        total = bar.add_task("total", total=sum(j.episodes for j in jobs), completed=sum(had.values()))
        by_id = {job.task.id: job for job in jobs}
        with Workers(workers, timeout_s=timeout_s, ray=ray) as pool:
            for result in pool.run(_record, lambda: _next(jobs)):
                job = by_id[str(result.name)]
                job.give(result)
                recorded = result.failure is None and result.value is not None
                bar.update(line[job.task.id], advance=recorded)
                bar.update(total, advance=recorded)
    _assemble_all([job for job in jobs if job.done], workers)
    for job in jobs:
        if job.failures:
            first, reason = min(job.failures)
            print(f"{job.task.id}: {len(job.failures)} seeds gave no episode, the first {first}: {reason}")
    for job in jobs:
        if job.done == 0:
            reason = min(job.failures)[1] if job.failures else "every start is kept for evaluation" if job.passed else "no time"
            raise OpenGatoError(f"no episode of {job.task.id!r} could be recorded: {reason}")
    return [dataset_id(t) for t in tasks]


def _validate(task: Task, episodes: int, noise: float) -> None:
    if task.make_expert is None:
        raise OpenGatoError(f"task {task.id!r} has no expert: it only has data")
    if not task.available:
        task.make()  # says which extra is missing
    if episodes < 1:
        raise OpenGatoError(f"episodes is {episodes} for {task.id!r}: ask for 1 or more")
    if not 0 <= noise <= _MOST_NOISE:
        raise OpenGatoError(f"noise is {noise} for {task.id!r}: choose a share from 0 to {_MOST_NOISE}")
    try:
        pickle.dumps(task)
    except Exception as error:
        raise OpenGatoError(f"task {task.id!r} cannot be sent to another process ({error}): make it from named functions") from None


def _next(jobs: list[_Collection]) -> Job | None:
    """First an episode of every task, which tells how long they take (and early what does not work), then the longest first."""
    fresh = [job for job in jobs if not job.begun]
    for job in fresh or sorted(jobs, key=lambda j: -j.seconds_each):
        if seeds := job.take():
            return Job(job.task.id, (job.task, job.noise), tuple(seeds))
    return None


def _assemble_all(jobs: list[_Collection], workers: int | None) -> None:
    """Make the staged episodes part of the tasks' Minari datasets, some of them at once: of many short episodes it takes a while.

    They are staged here, so that it is this machine's work, wherever they were recorded.
    """
    parts = iter([Job(j.task.id, (j.task, j.dataset, j.staging, _command(j)), (j.seed,)) for j in jobs if any(j.staging.iterdir())])
    with Workers(workers, timeout_s=math.inf) as pool:
        for result in pool.run(_assemble, lambda: next(parts, None)):
            if result.failure is not None:
                raise OpenGatoError(f"the episodes of {result.name!r}, staged beside the dataset, are not part of it yet: {result.failure}")
    for job in jobs:
        shutil.rmtree(job.staging, ignore_errors=True)


def _command(job: _Collection) -> str:
    return f"opengato collect {job.task.id} --episodes {job.episodes} --seed {job.seed} --noise {job.noise:g}"


def _assemble(task: Task, dataset: Path, staging: Path, command: str, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a process: write the staged episodes in the order of their seeds, then delete them."""
    from opengato.datasets.minari import recorded_seeds, write_minari

    yield Begun(seeds[0])
    recorded = set(recorded_seeds(dataset))
    fresh = sorted((p for p in staging.glob("*.npz") if int(p.stem) not in recorded), key=lambda p: int(p.stem))
    if fresh:
        form = "arrow" if any(_has_nul(path) for path in fresh) else "hdf5"
        with full_disk_is_an_error(dataset):
            write_minari(task, dataset, (load_episode(path, task) for path in fresh), command=command, data_format=form)
    shutil.rmtree(staging, ignore_errors=True)
    yield Done(seeds[0], None)


def _has_nul(path: Path) -> bool:
    """Whether a staged episode's text has a NUL character, which HDF5 cannot hold."""
    with np.load(path, allow_pickle=False) as data:
        return any(f"{key}.ends" in data.files and bool((data[key] == 0).any()) for key in data.files)
