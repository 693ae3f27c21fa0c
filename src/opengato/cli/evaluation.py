"""Commands that measure and show what an agent does in its environments: eval, compare, play."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from opengato.cli.app import Precision, command, print_json
from opengato.cli.training import ReadingSettings, reading_of
from opengato.runs import recorded


@dataclass(frozen=True)
class Playing:
    """How episodes are run."""

    batch: int = 32
    """environments stepped together"""
    temperature: float | None = None
    """of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones"""
    prompt: bool = True
    """begin with a checkpoint's demonstration of the task"""
    action_steps: int = 1
    """actions that are taken from one look, in one pass as far as the agent was trained to (`--model.chunk`)"""
    workers: int | None = None
    """processes, default one a core; the scores are the same for any number"""
    timeout: float = 900.0
    """seconds an episode may take; the process of a simulator that hangs for as long is killed"""
    ray: str | None = None
    """run on the Ray cluster at this address; "auto" is the one of this machine"""
    precision: Precision = "float32"
    """of the weights; bfloat16 and int8 are quicker on a CPU"""

    @property
    def sampling(self) -> dict[str, Any]:
        """What the episodes depend on."""
        return {name: getattr(self, name) for name in ("temperature", "prompt", "action_steps", "precision")}

    @property
    def pool(self) -> dict[str, Any]:
        """Where they run, which changes nothing of them."""
        return {"batch": self.batch, "workers": self.workers, "timeout_s": self.timeout, "ray": self.ray}


AS_USUAL = Playing()


@command
def eval_(
    agent: Positional[Path],
    tasks: list[str] | None = None,
    episodes: int = 50,
    demonstrations: tuple[str, ...] = (),
    baseline: Literal["mlp", "gru", "cnn", "lookup"] | None = None,
    data: tuple[str, ...] = (),
    seconds: float = 60.0,
    root: Path | None = None,
    seed: int = 0,
    task_id: bool = False,
    canonical: bool = False,
    playing: Annotated[Playing, tyro.conf.arg(name="")] = AS_USUAL,
    out: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Run an agent in its environments and score it between the random agent and the expert; interrupted, it goes on where it stopped.

    A checkpoint need not have been trained on a task that is named, if the task's spaces have a layout. With --baseline the agent is one of
    the simplest there are, trained on the same data for the same time, to stand beside a score.

    Args:
        agent: a folder with a checkpoint or a baseline, or weights that come along, see `opengato pretrained`; with --baseline a folder to
            keep it in.
        tasks: ids, domains or patterns; default: all tasks the agent knows.
        episodes: of each task, from the starts that are kept for evaluation.
        demonstrations: Minari datasets, of each the best episode is read before every episode of its task.
        baseline: train this one first, unless the folder has it already.
        data: what the baseline learns from, as for `train`.
        seconds: for which the baseline learns.
        root: folder of the Minari datasets; default: Minari's own.
        seed: of the baseline's training.
        task_id: tell the baseline which task it is, and not only what it observes.
        canonical: under the rules that published results have, where a task knows them (Meta-World: 500 steps); such an evaluation has
            returns and success, and no score.
        out: folder in which every finished episode is kept; default: one in runs/eval for this agent and these settings.
        as_json: print an object instead of a table.
    """
    arguments = dict(locals())
    from opengato.errors import OpenGatoError

    if baseline is None and (data or (root is not None and not demonstrations)):
        raise OpenGatoError("data and root are of a baseline's training: name one, for example --baseline mlp")
    from opengato.baselines.settings import Settings
    from opengato.baselines.train import train_or_load
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.evaluate import evaluate as run
    from opengato.evaluation.evaluate import known_tasks, settings_of_protocol
    from opengato.evaluation.results import default_folder, settings_of
    from opengato.evaluation.score import summarise
    from opengato.evaluation.table import print_scores
    from opengato.evaluation.unseen import introduce, settings_of_introductions
    from opengato.evaluation.words import held_out_nats
    from opengato.pretrained import agent_folder

    if baseline is None:
        agent = agent_folder(agent)
    else:
        train_or_load(agent, baseline, data, seconds, seed, Settings(task_id=task_id), root, show=not as_json)
    loaded = load_agent(agent)
    nats = {} if tasks else held_out_nats(loaded)
    told = {"nats_a_token": nats} if nats else {}
    if not as_json:
        for task, value in nats.items():
            print(f"{task}: {value:.3f} nats a token on held-out pictures")
    if nats and not set(loaded.layouts) - set(nats):  # nothing to act in
        if as_json:
            print_json(told)
        return
    chosen = known_tasks(loaded, tasks, canonical)
    told_of = introduce(loaded, chosen, demonstrations, root)
    settings = {**playing.sampling, **settings_of_introductions(told_of), **settings_of_protocol(chosen)}
    kept = out or default_folder(agent, settings_of(agent, **settings))
    with recorded(kept, "eval", arguments | {"tasks": [task.id for task in chosen], "out": kept}):
        found = run(agent, chosen, episodes, out=kept, show=not as_json, introductions=told_of, **playing.pool, **playing.sampling)
    summary = summarise(found.scores, found.unscored)  # stops where there is nothing to print
    if as_json:
        print_json(summary | told)
    else:
        print_scores(found)
        print(f"the episodes are kept in {kept}")


@command
def compare(
    first: Positional[Path],
    second: Positional[Path],
    tasks: list[str] | None = None,
    episodes: int = 50,
    playing: Annotated[Playing, tyro.conf.arg(name="")] = AS_USUAL,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Say how far one agent is ahead of another, on the same starts: episode by episode, with an interval.

    Args:
        first: a folder with a checkpoint or a baseline, or a file with what `opengato eval --json` printed.
        second: likewise; it is the one that is ahead or not.
        tasks: ids, domains or patterns; default: all tasks that both know.
        episodes: of each task; those that `opengato eval` has kept are not run again.
        as_json: print an object instead of a table.
    """
    from opengato.domains import get_task, match_tasks
    from opengato.errors import OpenGatoError
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.compare import compare as run
    from opengato.evaluation.compare import comparison_to_json
    from opengato.evaluation.evaluate import evaluate as play_all
    from opengato.evaluation.evaluate import known_tasks
    from opengato.evaluation.results import default_folder, settings_of
    from opengato.evaluation.score import load_scores
    from opengato.evaluation.table import print_comparison
    from opengato.evaluation.unseen import introduce
    from opengato.pretrained import agent_folder

    first, second = agent_folder(first), agent_folder(second)
    read = {path: load_scores(path) for path in (first, second) if path.is_file()}
    known = [[s.task for s in read[p]] if p in read else [t.id for t in known_tasks(load_agent(p), None)] for p in (first, second)]
    chosen = [task.id for task in match_tasks(tasks)] if tasks else [task for task in known[0] if task in known[1]]
    if not chosen:
        raise OpenGatoError(f"{first} and {second} know no common task: name some with --tasks")
    scores = []
    for path in (first, second):
        if path not in read:
            folder = default_folder(path, settings_of(path, **playing.sampling))
            wanted = [get_task(task) for task in chosen]
            told_of = introduce(load_agent(path), wanted)
            settings = {**playing.pool, **playing.sampling, "introductions": told_of}
            read[path] = play_all(path, wanted, episodes, out=folder, show=not as_json, **settings).scores
        scores.append([s for s in read[path] if s.task in chosen])
    found = run(*scores)
    if as_json:
        print_json(comparison_to_json(found))
    else:
        print_comparison(found)


@command
def play(
    agent: Positional[Path],
    tasks: Positional[tuple[str, ...]],
    out: Path = Path("play.mp4"),
    seed: int = 100_000,
    temperature: float | None = None,
    demonstrations: tuple[str, ...] = (),
    root: Path | None = None,
    tile: int = 120,
) -> None:
    """Write a video of an agent at a task, which it need not have been trained on, or at many, beside one another.

    Args:
        agent: a folder with a checkpoint or a baseline, or weights that come along, see `opengato pretrained`.
        tasks: ids, domains or patterns.
        out: the video, .mp4 or .gif.
        seed: of the episodes.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        demonstrations: Minari datasets, whose best episode is read before that of their task.
        root: folder of the Minari datasets; default: Minari's own.
        tile: side of each picture, in pixels, where there are several.
    """
    from opengato.domains import match_tasks
    from opengato.errors import OpenGatoError
    from opengato.evaluation.agent import introduced, load_agent
    from opengato.evaluation.rollout import rollout
    from opengato.evaluation.unseen import introduce
    from opengato.evaluation.video import beside, encode_gif, encode_mp4

    if out.suffix not in (".mp4", ".gif"):
        raise OpenGatoError(f"out is {out}: name a file that ends in .mp4 or .gif")
    loaded, shown = load_agent(agent), match_tasks(list(tasks))
    ready = introduced(loaded, introduce(loaded, shown, demonstrations, root))
    episodes = []
    for task in shown:
        episode = rollout(ready, task, 1, record=1, seed=seed, temperature=temperature)[0]
        episodes.append(episode)
        unseen = "" if task.id in loaded.layouts else " (not in training)"
        print(f"{task.id}{unseen}: return {episode.episode_return:.4g} in {episode.length} timesteps", flush=True)
    frames = episodes[0].frames if len(episodes) == 1 else beside(episodes, tile)
    out.write_bytes(encode_mp4(frames, 30) if out.suffix == ".mp4" else encode_gif(frames, 20))
    print(out)


@command
def words(
    checkpoint: Positional[Path],
    data: Positional[tuple[str, ...]],
    seen: tuple[str, ...] = (),
    samples: int = 200,
    temperature: float = 0.9,
    seed: int = 0,
    root: Path | None = None,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    precision: Precision = "float32",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Score what a checkpoint says on held-out data, beside the simplest writers: texts, captions, questions, pages, conversations.

    Args:
        checkpoint: a checkpoint folder.
        data: datasets, as for `train`, that it was not trained on.
        seen: datasets that it was trained on, from which the simplest writers learn; none: they are left out.
        samples: of each dataset so many are scored.
        temperature: of captions and replies; answers to questions are the likeliest ones.
        seed: of the sampling.
        root: folder of the Minari datasets; default: Minari's own.
        precision: of the weights.
        as_json: print a list of objects instead of a table.
    """
    from dataclasses import asdict

    from opengato.checkpoint import Checkpoint
    from opengato.datasets.open import find_dataset
    from opengato.datasets.reading import Budget, Reading
    from opengato.errors import OpenGatoError
    from opengato.evaluation.language import score
    from opengato.model.precision import convert

    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example text:held-out.txt")
    how = Reading(root, pictures=reading_of(reading)["pictures"] or Budget())
    held_out, known = ([find_dataset(name, how) for name in names] for names in (data, seen))
    loaded = Checkpoint.load(checkpoint)
    convert(loaded.model, precision)
    rows = []
    for row in score(loaded, held_out, known, samples, temperature, seed):
        rows.append(row)
        if not as_json:
            scores = "   ".join(f"{name} {value:.4g}" for name, value in row.scores.items())
            print(f"{row.dataset}, {row.count}: {row.who:24} {scores}", flush=True)
    if as_json:
        print_json([asdict(row) for row in rows])
