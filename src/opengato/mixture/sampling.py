"""The n-th training sequence, as a pure function of (seed, n).

A counter-based generator draws domain, task, episode, window and prompt, until L positions are filled. Resuming needs one integer; any
worker or rank can build any sequence.

Sequences are of two sorts. A long one is of one domain, its windows as long as the room allows. A short one holds single timesteps from
all over the data, in bunches of one task: a step then sees hundreds of different moments instead of a few episodes, in which one timestep
is much like the next, and the network learns to act on what it sees, with no past as with much. A bunch may have one prompt, which each of
its timesteps reads as if it were alone. Each domain's share of the positions is its weight.

A picture and its words are an episode of their own, packed beside others that they do not see. The paper concatenates five such pairs to an
episode, each seen by those after it; but an agent is shown one picture at a time, and four in five would train what it is not asked.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from collections.abc import Sequence as Sequences
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opengato.console import notice
from opengato.datasets.store import TokenDataset
from opengato.errors import OpenGatoError
from opengato.mixture.packing import Piece, Sequence, pack
from opengato.mixture.weights import Shares, Stage, check_stages, split
from opengato.tokens.fold import Fold
from opengato.tokens.layout import Layout
from opengato.tokens.offsets import Offsets
from opengato.tokens.statistics import Statistics
from opengato.tokens.vocabulary import ACTION_TEXT

FEWEST_WORDS = 64  # of a text, or a quarter of the context: with less room it is not drawn
BUNCH = 64  # positions of a short sequence that are of one task; or as many as two timesteps take


@dataclass(frozen=True)
class Sampling:
    """How windows are drawn.

    Attributes:
        prompt_share: of the windows that get a prompt before them, from another episode of the task by the same agent (paper: 0.25).
        moments: timesteps of a prompt, spread over the whole episode; 0: as many in a row as fill half of the room, half of the prompts
            from the episode's end (the paper's; how long a prompt is it does not say, and half leaves as much for what it is for).
        short_share: share of the positions of a domain that acts in environments that is in windows of one timestep. 0: the paper's.
        long_only: tasks, or patterns of tasks, of which no windows of one timestep are drawn: what is seen now does not say what to do.
            A training adds those that say so of themselves (`Task.needs_past`).
        size_power: within its domain a task weighs as its timesteps, those that may be drawn, to this power; 0: all tasks alike.
        return_threshold: keep episodes with at least this share of the task's expert return (paper: 0.8).
        return_thresholds: the same by domain, task or pattern of tasks, in place of it; of several that name a task the last one counts.
        return_window: where no reference is stored, the expert return is the largest mean return of any W = min(return_window, N / 10)
            episodes in a row (paper, appendix D; its text says "a minimum of 1000" where its formula has the maximum).
        validation_share: share of every task's episodes that is never trained on, nor shown as a prompt, but gives `Mixture.validation`.
        shift: pixels by which a picture that words are said of is moved at most, each time anew, see `move_pictures`; not in validation.
    """

    prompt_share: float = 0.25
    moments: int = 0
    short_share: float = 0.0
    long_only: Sequences[str] = ()
    size_power: float = 0.0
    return_threshold: float = 0.0
    return_thresholds: Mapping[str, float] = field(default_factory=dict)
    return_window: int = 1000
    validation_share: float = 0.0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise OpenGatoError(f"shift is {self.shift}: give the pixels by which pictures are moved at most, 0 for none")
        if not 0 <= self.validation_share < 1:
            raise OpenGatoError(
                f"validation_share is {self.validation_share:g}: give the share of the episodes to keep from training, 0.05 say"
            )

    def short(self, task: str) -> float:
        """Share of a task's positions that is in windows of one timestep."""
        return 0.0 if any(fnmatch.fnmatchcase(task, name) for name in self.long_only) else self.short_share

    def threshold(self, task: str) -> float:
        """Of a task."""
        named = [value for name, value in self.return_thresholds.items() if name == task.split("/")[0] or fnmatch.fnmatchcase(task, name)]
        return named[-1] if named else self.return_threshold


def good_enough(data: TokenDataset, threshold: float, expert_return: float | None) -> np.ndarray:
    """Which episodes, bool (E,), reach a share `threshold` of the expert's return, or are relabelled.

    The return of those is a student's, and their actions are an expert's. Raises OpenGatoError where there is none.
    """
    if expert_return is None or threshold <= 0:
        return np.ones(len(data), bool)
    # A share of a negative return lies below it.
    good: np.ndarray = data.relabelled | (data.returns >= (threshold * expert_return if expert_return >= 0 else expert_return / threshold))
    if not good.any():
        raise OpenGatoError(
            f"no episode of task {data.task!r} reaches {threshold:.0%} of the expert return {expert_return:.4g}: "
            "collect better ones or lower --return-threshold"
        )
    return good


class Source:
    """One dataset with what sampling needs: the kept episodes, of those to keep, bool (E,), and running positions of every timestep."""

    def __init__(self, data: TokenDataset, layout: Layout, fold: Fold, length: int, keep: np.ndarray):
        self.data, self.layout = data, layout
        sizes, before = fold.sizes(data.form.kinds, data.parts())
        self.starts = Offsets(sizes, data.timesteps)
        # A text is cut where a sequence ends, but not what it answers to, nor its first words; of anything else a timestep must fit whole.
        single, says = np.diff(data.episodes) == 1, [field.kind for field in layout.action] == [ACTION_TEXT]
        most, words = _by_episode(sizes, data.episodes), min(length // 4, FEWEST_WORDS)
        least = np.where(single | says, _by_episode(before + np.minimum(sizes - before, words), data.episodes), most)
        self.least, self.is_cut = least, most > length
        fits = least <= length
        if not (keep & fits).any():
            raise OpenGatoError(
                f"a timestep of task {data.task!r} takes at least {least[keep].min()} positions, more than the context of {length}: use a "
                "preset with a longer context or smaller observations"
            )
        self.left_out = {"too long for the context": int((keep & ~fits).sum())}  # reason -> episodes
        if left_out := self.left_out["too long for the context"]:
            notice(
                f"{data.task}: {left_out} of {len(data)} episodes have a timestep that does not fit into the context of {length}, or a "
                "picture that leaves no room for words: left out, use a preset with a longer context or smaller observations"
            )
        self.kept = np.flatnonzero(keep & fits)
        self.timesteps = int(np.diff(data.episodes)[self.kept].sum())  # that may be drawn
        # Drawn by their timesteps; of a text by how many windows each takes.
        each = np.broadcast_to(-(-sizes // length) if says else 1, data.timesteps)
        windows = np.where(single, -(-most // length), np.add.reduceat(each, data.episodes[:-1]))
        self.cumulative = np.cumsum(windows[self.kept])
        # Whose the actions are; a prompt before relabelled ones is a demonstration by the expert, which the agent will be shown too.
        expert = data.source_names.index("expert") if "expert" in data.source_names else -1
        self.agents = np.where(data.relabelled, expert, data.sources)
        self.demonstrations = self.kept[~data.relabelled[self.kept]]
        self.partners = {a: self.demonstrations[self.agents[self.demonstrations] == a] for a in np.unique(self.agents[self.kept])}
        self.longest = int(most[self.kept].max())
        self.bunch = max(BUNCH, 2 * self.longest)
        # Whether it acts in an environment, timestep by timestep.
        self.can_be_short = all(field.kind != ACTION_TEXT for field in layout.action) and self.bunch <= length

    def partner(self, episode: int, rng: np.random.Generator) -> int | None:
        """A demonstration by the same agent, another episode if there is one; None where the agent has shown none."""
        partners = self.partners[self.agents[episode]]
        if not len(partners):
            return None
        other = int(partners[rng.integers(len(partners))])
        if other == episode and len(partners) > 1:
            other = int(partners[(np.searchsorted(partners, other) + 1) % len(partners)])
        return other

    def moments(self, episode: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """Up to `count` different timesteps of an episode, in order."""
        first, last = int(self.data.episodes[episode]), int(self.data.episodes[episode + 1])
        return np.sort(first + rng.choice(last - first, min(count, last - first), replace=False))

    def size(self, timesteps: np.ndarray) -> int:
        """How many positions timesteps take."""
        return int(self.starts.sizes(timesteps).sum())


class Mixture:
    """Packed training sequences over datasets grouped by domain.

    Args:
        datasets: tokenised datasets, one a task or several.
        weights: name -> sample weight, see `mixture.weights`, or stages of them; a domain with no dataset is an error.
        length: L, positions a sequence.
        fold: the model family's form.
        seed: of the run.
        sampling: how windows are drawn.
        expert_returns: task -> what `sampling.return_threshold` is a share of.
        layouts: task -> layout whose statistics are known already, as those of a checkpoint that is fine-tuned.
        chunk: actions in a row that a timestep's position predicts, see `ModelConfig`.
        validating: draw from the episodes that `sampling.validation_share` keeps from training, and from no others.

    Attributes:
        domains: those with a weight, in order of their names; of a validation, those of which it has episodes.
        stages: the first sequence of each stage of the weights, and what is drawn how often in it.
        layouts: task -> layout. Tasks that observe the same spaces measure their numbers alike: by the statistics of all their data.
    """

    def __init__(
        self,
        datasets: list[TokenDataset],
        weights: Mapping[str, float] | Sequences[Stage],
        length: int,
        fold: Fold,
        seed: int,
        sampling: Sampling | None = None,
        expert_returns: dict[str, float] | None = None,
        layouts: dict[str, Layout] | None = None,
        chunk: int = 1,
        validating: bool = False,
    ):
        self._arguments = datasets, weights, length, fold, seed, sampling, expert_returns
        self.validating = validating
        stages = [Stage(0, weights)] if isinstance(weights, Mapping) else list(weights)
        check_stages(stages)
        named = [split(stage.weights, [d.task for d in datasets]) for stage in stages]
        weighty = {domain for domains, _ in named for domain in domains}
        missing = weighty - {d.domain for d in datasets}
        if missing:
            raise OpenGatoError(f"the mixture gives weight to {sorted(missing)}, of which there is no data: collect it or leave it out")
        self.length, self.fold, self.seed, self.sampling, self.chunk = length, fold, seed, sampling or Sampling(), chunk
        self.layouts = shared_layouts(datasets, layouts or {})
        expert_returns = expert_returns or {}
        found: dict[str, list[Source]] = {}
        for data in (d for d in datasets if d.domain in weighty):
            good = good_enough(data, self.sampling.threshold(data.task), expert_returns.get(data.task))
            kept = good & (data.in_validation(self.sampling.validation_share) == validating)
            if kept.any():
                source = Source(data, self.layouts[data.task], fold, length, kept)
                source.left_out |= {"return below the threshold": int((~good).sum()), "kept for validation": int((good & ~kept).sum())}
                found.setdefault(data.domain, []).append(source)
            elif not validating:
                raise OpenGatoError(
                    f"validation_share {self.sampling.validation_share:g} leaves none of the {good.sum()} episodes of task {data.task!r} "
                    "to train on: lower --validation-share"
                )
        self.domains = sorted(weighty & set(found))
        if not self.domains:
            raise OpenGatoError(
                f"validation_share {self.sampling.validation_share:g} takes none of the {sum(map(len, datasets))} episodes: raise it, or "
                "leave it at 0 to train on all of them"
            )
        self.sources = [found[domain] for domain in self.domains]
        short = [[self.sampling.short(s.data.task) * all(s.can_be_short for s in sources) for s in sources] for sources in self.sources]
        tasks = [[s.data.task for s in sources] for sources in self.sources]
        sizes = [[s.timesteps for s in sources] for sources in self.sources]
        # Of a validation some tasks may have no episode: names and patterns are those of all tasks.
        present = [task for part in tasks for task in part]
        weighed = [domains | {task: within[task] for task in present} for domains, within in named]
        shares = [Shares(each, self.domains, tasks, sizes, self.sampling.size_power, short) for each in weighed]
        self.stages = [(stage.first, share) for stage, share in zip(stages, shares)]

    def validation(self) -> Mixture:
        """The same mixture of the episodes that are kept from training. Raises OpenGatoError where there are none."""
        return Mixture(*self._arguments, layouts=self.layouts, chunk=self.chunk, validating=True)

    def sequence(self, n: int) -> Sequence:
        """The n-th sequence of the run."""
        pieces, rng = self.pieces(n)
        return pack(pieces, self.length, self.fold, rng, self.chunk, 0 if self.validating else self.sampling.shift)

    def describe(self, n: int) -> list[dict[str, Any]]:
        """What the n-th sequence is made of: of every window, and of its prompt, task, episode, and first and last timestep inside it."""
        out = []
        for piece in self.pieces(n)[0]:
            episodes = np.searchsorted(piece.data.episodes, piece.timesteps, side="right") - 1
            apart = np.diff(np.stack([episodes, piece.windows, piece.branches])).any(0)
            begins = np.flatnonzero(np.append(True, apart))
            for a, b in zip(begins, np.append(begins[1:], len(episodes))):
                inside = piece.timesteps[a:b] - piece.data.episodes[episodes[a]]
                out.append({"task": piece.data.task, "episode": int(episodes[a]), "timesteps": [int(inside[0]), int(inside[-1])]})
        return out

    def pieces(self, n: int) -> tuple[list[Piece], np.random.Generator]:
        """The windows of the n-th sequence, not yet read, and the generator after them."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, n]))
        shares = self.shares(n)
        short = shares.short > 0 and rng.random() < shares.short
        return (self._short(shares, rng) if short else self._long(shares, rng)), rng

    def shares(self, n: int) -> Shares:
        """By which the n-th sequence is drawn."""
        return next(shares for first, shares in reversed(self.stages) if first <= n)

    def _source(self, shares: Shares, sort: str, rng: np.random.Generator, domain: int | None = None) -> tuple[Source, int]:
        if domain is None:
            domain = shares.domain(sort, rng)
        return self.sources[domain][shares.task(sort, domain, rng)], domain

    # ---- long sequences: windows of one domain, each as long as there is room

    def _long(self, shares: Shares, rng: np.random.Generator) -> list[Piece]:
        pieces: list[Piece] = []
        domain: int | None = None
        filled, segment, tries = 0, 0, 0
        while filled < self.length and tries < 4:
            source, domain = self._source(shares, "long", rng, domain)
            windows = self._draw(source, rng, self.length - filled)
            if not windows:
                tries += 1
                continue
            for timesteps in windows:
                window, branch = np.full(len(timesteps), segment), np.zeros(len(timesteps), np.int64)
                pieces.append(Piece(source.data, source.layout, domain, timesteps, window, branch, filled))
                filled += source.size(timesteps)
            filled, segment = min(filled, self.length), segment + 1
        if filled < self.length and not self.fold.patches_per_position:
            self._fill(pieces, self.length - filled)
        return pieces

    def _fill(self, pieces: list[Piece], room: int) -> None:
        """Where positions are left, let windows of the paper's form begin inside a timestep, as a memory of so many tokens does."""
        for number, piece in reversed(list(enumerate(pieces))):
            begins = number == 0 or pieces[number - 1].windows[-1] != piece.windows[0]
            first = int(piece.timesteps[0])
            sizes, episodes = piece.data.sizes, piece.data.episodes
            if room and begins and episodes[np.searchsorted(episodes, first)] != first:
                # Not a whole timestep: its action would be a target that is never predicted.
                piece.head = min(room, int(sizes[first] - sizes[first - 1]) - 1)
                room -= piece.head
                for later in pieces[number + 1 :]:
                    later.base += piece.head

    def _draw(self, source: Source, rng: np.random.Generator, budget: int) -> list[np.ndarray]:
        """A window, perhaps with a prompt before it, as timesteps of the dataset; empty where nothing fits."""
        pick = int(np.searchsorted(source.cumulative, rng.integers(source.cumulative[-1]), side="right"))
        episode = int(source.kept[pick])
        if rng.random() < self.sampling.prompt_share:
            partner = source.partner(episode, rng)
            prompt = self._prompt(source, partner, budget // 2, rng) if partner is not None else None
            used = source.size(prompt) if prompt is not None else budget
            window = self._window(source, episode, budget - used, rng) if used < budget else None
            if prompt is not None and window is not None:
                return [prompt, window]
        window = self._window(source, episode, budget, rng)
        return [window] if window is not None else []

    def _prompt(self, source: Source, episode: int, budget: int, rng: np.random.Generator) -> np.ndarray | None:
        if not self.sampling.moments:
            return self._window(source, episode, budget, rng, at_end=rng.random() < 0.5)
        moments = source.moments(episode, self.sampling.moments, rng)
        return moments if source.size(moments) <= budget else None

    def _window(self, source: Source, episode: int, budget: int, rng: np.random.Generator, at_end: bool = False) -> np.ndarray | None:
        first, last = int(source.data.episodes[episode]), int(source.data.episodes[episode + 1])
        starts = source.starts
        if starts[last] - starts[first] <= budget:
            return np.arange(first, last)
        # The last start from which the rest of the episode still fits.
        latest = starts.search(starts[last] - budget, side="left")
        if latest >= last:  # not even the last timestep fits: a text is cut inside it, anything else is not drawn
            if source.least[episode] > budget:
                return None
            if last - first == 1:
                return np.arange(first, last)
            if not source.is_cut[episode] or at_end:
                return None
            latest = last - 1
        if at_end:
            return np.arange(latest, last)
        # Starts before the episode count as its start, so that the beginning is seen with an empty context often enough.
        span = latest - first
        overhang = max(1, min((last - first) // 8, 16))
        start = first + max(0, int(rng.integers(-overhang, span + 1)))
        stop = starts.search(starts[start] + budget, side="right") - 1
        if stop == start and source.is_cut[episode] and source.least[episode] <= budget:
            return np.arange(start, start + 1)
        return np.arange(start, min(stop, last)) if stop > start else None

    # ---- short sequences: bunches of single timesteps, each bunch of one task

    def _short(self, shares: Shares, rng: np.random.Generator) -> list[Piece]:
        pieces: list[Piece] = []
        base, segment = 0, 0
        # All of a sequence or nothing of it: where nobody sees anybody else, there is no attention to compute.
        prompted = rng.random() < self.sampling.prompt_share * bool(self.sampling.moments)
        while base < self.length:
            source, domain = self._source(shares, "short", rng)
            prompt, singles = self._bunch(source, self.length - base, prompted, rng)
            if not len(singles):
                break
            timesteps = np.append(prompt, singles)
            alone, before = np.arange(len(singles)), np.zeros(len(prompt), np.int64)
            windows, branches = (np.zeros(len(timesteps), np.int64), np.append(before, alone + 1)) if len(prompt) else (alone, 0 * alone)
            pieces.append(Piece(source.data, source.layout, domain, timesteps, windows + segment, branches, base))
            base += source.size(timesteps)
            segment += int(windows[-1]) + 1
        return pieces or self._long(shares, rng)

    def _bunch(self, source: Source, room: int, prompted: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The moments of a prompt, or none, and single timesteps of other episodes by the same agent, to a bunch or as `room` allows."""
        prompt, episode = np.zeros(0, np.int64), -1
        if prompted and len(source.demonstrations):
            episode = int(source.demonstrations[rng.integers(len(source.demonstrations))])
            moments = source.moments(episode, self.sampling.moments, rng)
            if source.size(moments) + source.longest <= room:  # else there would be nobody to read it
                prompt, room = moments, room - source.size(moments)
        room = min(source.bunch, room)
        picks = rng.integers(source.cumulative[-1], size=room)
        which = np.searchsorted(source.cumulative, picks, side="right")
        episodes = source.kept[which]
        timesteps = source.data.episodes[episodes + 1] - (source.cumulative[which] - picks)
        if len(prompt):
            agent = source.agents[episode]
            readers = source.agents[episodes] == agent
            if len(source.partners[agent]) > 1:
                readers &= episodes != episode
            if readers.any():
                timesteps = timesteps[readers]
            else:
                prompt = prompt[:0]
        return prompt, timesteps[np.cumsum(source.starts.sizes(timesteps)) <= room]


def _by_episode(sizes: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """The largest of the sizes, int64 (T,) or (1,), of every episode's timesteps: int64 (E,)."""
    found: np.ndarray = np.repeat(sizes, len(episodes) - 1) if len(sizes) == 1 else np.maximum.reduceat(sizes, episodes[:-1])
    return found


def shared_layouts(datasets: list[TokenDataset], known: dict[str, Layout]) -> dict[str, Layout]:
    """task -> layout, with statistics over all tasks that observe the same spaces; those of `known` layouts stay as they are."""

    def observed(layout: Layout) -> str:
        return str(layout.spaces_json()["observation_space"])

    statistics = {observed(layout): layout.statistics for layout in known.values() if layout.statistics is not None}
    parts: dict[str, list[Statistics]] = {}
    for data in datasets:
        if data.layout.statistics is not None:
            parts.setdefault(observed(data.layout), []).append(data.layout.statistics)
    statistics = {space: Statistics.pool(found) for space, found in parts.items()} | statistics
    return {data.task: data.layout.with_statistics(statistics.get(observed(data.layout))) for data in datasets}
