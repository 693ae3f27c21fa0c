"""The command line: one function a command. Each calls the library and prints; nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import tyro
from tyro.conf import Positional

app = tyro.extras.SubcommandApp()

# As opengato.model.precision has it, which needs torch.
Precision = Literal["float32", "bfloat16", "int8"]


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=1))


@app.command
def tasks(domain: str | None = None, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List the tasks there are.

    Args:
        domain: only those of this domain.
        as_json: print a list of objects instead of a table.
    """
    from opengato.domains import tasks as all_tasks
    from opengato.domains.task import reference_scores
    from opengato.errors import unknown
    from opengato.tokens.spaces import to_json

    found = list(all_tasks().values())
    if domain is not None:
        found = [t for t in found if t.domain == domain]
        if not found:
            raise unknown("domain", domain, {t.domain for t in all_tasks().values()})
    scores = reference_scores()
    rows: list[dict[str, Any]] = []
    for task in found:
        score = scores.get(task.id, {})
        rows.append(
            {
                "id": task.id,
                "domain": task.domain,
                "observation_space": to_json(task.observation_space),
                "action_space": to_json(task.action_space),
                "expert": task.expert_name,
                "random_score": score.get("random"),
                "expert_score": score.get("expert"),
                "n": score.get("n_expert"),
                "extra": task.extra,
                "available": task.available,
            }
        )
    if as_json:
        _print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "random", "expert", "n", "expert is", "extra", box=None)
    for row in rows:
        numbers = [f"{row[k]:.4g}" if row[k] is not None else "–" for k in ("random_score", "expert_score", "n")]
        table.add_row(row["id"], *numbers, row["expert"], row["extra"] + ("" if row["available"] else " (not installed)"))
    Console().print(table)


@app.command
def info(model: Positional[str], as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """Describe a preset or a checkpoint folder.

    Args:
        model: a preset's name, such as gato-79m, or a folder with a config.json.
        as_json: print an object instead of lines.
    """
    import torch

    from opengato.checkpoint import read_config
    from opengato.model.config import ModelConfig, preset
    from opengato.model.gato import Gato

    folder = Path(model)
    config = read_config(folder) if folder.is_dir() else None
    model_config = ModelConfig(**config["model"]) if config else preset(model)
    with torch.device("meta"):
        network = Gato(model_config)
    facts = {
        "model": model,
        "parameters": network.parameter_count(),
        "parameters_outside_embeddings": network.parameter_count(embeddings=False),
        "family": model_config.family,
        "layers": model_config.blocks,
        "heads": model_config.heads,
        "width": model_config.width,
        "context": model_config.context,
        "tasks": config["tasks"] if config else {},
    }
    if as_json:
        _print_json(facts)
        return
    for key, value in facts.items():
        if key == "tasks":
            print(f"{'tasks':30}{', '.join(value) or 'none: a preset knows no spaces yet'}")
        else:
            print(f"{key.replace('_', ' '):30}{value:,}" if isinstance(value, int) else f"{key:30}{value}")


@app.command
def collect(
    task: Positional[list[str]],
    episodes: int = 20,
    out: Path | None = None,
    workers: int | None = None,
    seed: int = 0,
    noise: float = 0.0,
    timeout: float = 900.0,
    ray: str | None = None,
) -> None:
    """Record expert demonstrations as Minari datasets; interrupted, it goes on where it stopped.

    Args:
        task: ids, domains or patterns, such as babyai/go-to-local, metaworld, "atari/p*".
        episodes: how many of each.
        out: folder of the datasets; default: Minari's own.
        workers: processes; default: one a core.
        seed: the first episode's seed.
        noise: share of the executed actions that are random, while the expert's advice is recorded.
        timeout: seconds; the process of an episode that takes longer is killed.
        ray: record on the Ray cluster at this address; "auto" is the one of this machine.
    """
    from opengato.collect import collect as run
    from opengato.domains import match_tasks

    for dataset in run(match_tasks(task), episodes, out, workers=workers, seed=seed, noise=noise, timeout_s=timeout, ray=ray):
        print(dataset)


@app.command
def reference(task: Positional[list[str]], episodes: int = 50, expert_episodes: int | None = None, workers: int | None = None) -> None:
    """Measure the scores of a random agent and of the expert, and store them with the package.

    Args:
        task: ids, domains or patterns.
        episodes: of the random agent, and of the expert unless `expert_episodes` is given.
        expert_episodes: of the expert.
        workers: processes; default: one a core.
    """
    from opengato.domains import match_tasks
    from opengato.references import update_references

    update_references(match_tasks(task), episodes, expert_episodes or episodes, workers=workers)


@app.command(name="eval")
def evaluate(
    agent: Positional[Path],
    tasks: list[str] | None = None,
    episodes: int = 50,
    baseline: Literal["mlp", "gru", "cnn", "lookup"] | None = None,
    data: tuple[str, ...] = (),
    seconds: float = 60.0,
    root: Path | None = None,
    seed: int = 0,
    task_id: bool = False,
    batch: int = 10,
    temperature: float | None = None,
    prompt: bool = True,
    workers: int | None = None,
    timeout: float = 900.0,
    ray: str | None = None,
    precision: Precision = "float32",
    out: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Run an agent in its environments and score it between the random agent and the expert; interrupted, it goes on where it stopped.

    With --baseline the agent is one of the simplest there are, trained on the same data for the same time, to stand beside a score.

    Args:
        agent: a folder with a checkpoint or a baseline; with --baseline one to keep it in.
        tasks: ids, domains or patterns; default: all tasks the agent knows.
        episodes: of each task, from the starts that are kept for evaluation.
        baseline: train this one first, unless the folder has it already.
        data: what the baseline learns from, as for `train`.
        seconds: for which the baseline learns.
        root: folder of the Minari datasets; default: Minari's own.
        seed: of the baseline's training.
        task_id: tell the baseline which task it is, and not only what it observes.
        batch: environments stepped together.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        prompt: begin with the checkpoint's demonstration of the task.
        workers: processes, default one a core; the scores are the same for any number.
        timeout: seconds an episode may take; the process of a simulator that hangs for as long is killed.
        ray: run on the Ray cluster at this address; "auto" is the one of this machine.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
        out: folder in which every finished episode is kept; default: one in runs/eval for this agent and these settings.
        as_json: print an object instead of a table.
    """
    from opengato.errors import OpenGatoError

    if baseline is None and (data or root is not None):
        raise OpenGatoError("data and root are of a baseline's training: name one, for example --baseline mlp")
    from opengato.baselines.settings import Settings
    from opengato.baselines.train import train_or_load
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.evaluate import evaluate as run
    from opengato.evaluation.evaluate import known_tasks
    from opengato.evaluation.results import default_folder, settings_of
    from opengato.evaluation.score import summarise
    from opengato.evaluation.table import print_scores
    from opengato.evaluation.words import held_out_nats

    if baseline is not None:
        train_or_load(agent, baseline, data, seconds, seed, Settings(task_id=task_id), root, show=not as_json)
    loaded = load_agent(agent)
    nats = {} if tasks else held_out_nats(loaded)
    told = {"nats_a_token": nats} if nats else {}
    if not as_json:
        for task, value in nats.items():
            print(f"{task}: {value:.3f} nats a token on held-out pictures")
    if nats and not set(loaded.layouts) - set(nats):  # nothing to act in
        if as_json:
            _print_json(told)
        return
    chosen = known_tasks(loaded, tasks)
    sampling: Any = {"temperature": temperature, "prompt": prompt, "precision": precision}
    kept = out or default_folder(agent, settings_of(agent, **sampling))
    pool: Any = {"batch": batch, "workers": workers, "timeout_s": timeout, "ray": ray}
    found = run(agent, chosen, episodes, out=kept, show=not as_json, **pool, **sampling)
    summary = summarise(found.scores, found.unscored)  # stops where there is nothing to print
    if as_json:
        _print_json(summary | told)
    else:
        print_scores(found)
        print(f"the episodes are kept in {kept}")


@app.command
def compare(
    first: Positional[Path],
    second: Positional[Path],
    tasks: list[str] | None = None,
    episodes: int = 50,
    batch: int = 10,
    temperature: float | None = None,
    prompt: bool = True,
    workers: int | None = None,
    timeout: float = 900.0,
    precision: Precision = "float32",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Say how far one agent is ahead of another, on the same starts: episode by episode, with an interval.

    Args:
        first: a folder with a checkpoint or a baseline, or a file with what `opengato eval --json` printed.
        second: likewise; it is the one that is ahead or not.
        tasks: ids, domains or patterns; default: all tasks that both know.
        episodes: of each task; those that `opengato eval` has kept are not run again.
        batch: environments stepped together.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        prompt: begin with a checkpoint's demonstration of the task.
        workers: processes, default one a core.
        timeout: seconds an episode may take.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
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
    from opengato.evaluation.score import read_scores
    from opengato.evaluation.table import print_comparison

    sampling: Any = {"temperature": temperature, "prompt": prompt, "precision": precision}
    pool: Any = {"batch": batch, "workers": workers, "timeout_s": timeout}
    read = {path: read_scores(json.loads(path.read_text())) for path in (first, second) if path.is_file()}
    known = [[s.task for s in read[p]] if p in read else [t.id for t in known_tasks(load_agent(p), None)] for p in (first, second)]
    chosen = [task.id for task in match_tasks(tasks)] if tasks else [task for task in known[0] if task in known[1]]
    if not chosen:
        raise OpenGatoError(f"{first} and {second} know no common task: name some with --tasks")
    scores = []
    for path in (first, second):
        if path not in read:
            folder = default_folder(path, settings_of(path, **sampling))
            wanted = [get_task(task) for task in chosen]
            read[path] = play_all(path, wanted, episodes, out=folder, show=not as_json, **pool, **sampling).scores
        scores.append([s for s in read[path] if s.task in chosen])
    found = run(*scores)
    if as_json:
        _print_json(comparison_to_json(found))
    else:
        print_comparison(found)


@app.command
def play(
    agent: Positional[Path], task: Positional[str], out: Path = Path("play.mp4"), seed: int = 100_000, temperature: float | None = None
) -> None:
    """Write a video of an agent at one task.

    Args:
        agent: a folder with a checkpoint or a baseline.
        task: the task's id.
        out: the video.
        seed: of the episode.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
    """
    from opengato.domains import get_task
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.rollout import rollout
    from opengato.evaluation.video import encode_mp4

    episode = rollout(load_agent(agent), get_task(task), 1, record=1, seed=seed, temperature=temperature)[0]
    out.write_bytes(encode_mp4(episode.frames, 30))
    print(f"{out}: return {episode.episode_return:.4g} in {episode.length} timesteps")


@app.command
def caption(
    checkpoint: Positional[Path],
    image: Positional[Path],
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    precision: Precision = "float32",
) -> None:
    """Say what an image shows, word by word.

    Args:
        checkpoint: a checkpoint folder that was trained on captions.
        image: any image file.
        temperature: of the words; the paper samples at 0.9.
        top_p: sample from the likeliest words that have this share of the probability.
        seed: of the sampling.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
    """
    from opengato.policy.language import caption as run
    from opengato.policy.policy import Policy

    run(Policy.from_pretrained(checkpoint, precision=precision, temperature=temperature, top_p=top_p, seed=seed), image, _say)
    print()


@app.command
def ask(
    checkpoint: Positional[Path],
    image: Positional[Path],
    question: Positional[str],
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    precision: Precision = "float32",
) -> None:
    """Answer a question about an image, word by word.

    Args:
        checkpoint: a checkpoint folder that was trained on questions about images.
        image: any image file.
        question: what to ask.
        temperature: of the words; the paper samples at 0.9.
        top_p: sample from the likeliest words that have this share of the probability.
        seed: of the sampling.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
    """
    from opengato.policy.language import ask as run
    from opengato.policy.policy import Policy

    run(Policy.from_pretrained(checkpoint, precision=precision, temperature=temperature, top_p=top_p, seed=seed), image, question, _say)
    print()


def _say(words: str) -> None:
    print(words, end="", flush=True)


@app.command
def chat(
    checkpoint: Positional[Path], temperature: float = 0.9, top_p: float = 0.95, seed: int = 0, precision: Precision = "float32"
) -> None:
    """Talk with an agent; an empty line or Ctrl-D ends it.

    Args:
        checkpoint: a checkpoint folder that was trained on dialogue.
        temperature: of the words.
        top_p: sample from the likeliest words that have this share of the probability.
        seed: of the sampling.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
    """
    from opengato.policy.language import chat as run
    from opengato.policy.policy import Policy

    policy = Policy.from_pretrained(checkpoint, precision=precision, temperature=temperature, top_p=top_p, seed=seed)
    run(policy, sys.stdin, _say)


@app.command
def serve(
    checkpoint: Positional[Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    task: str | None = None,
    name: str = "opengato",
    sessions: int = 64,
    chats: int = 4,
    queue: int = 16,
    rate: float = 1000.0,
    max_message: int = 8 * 2**20,
    temperature: float | None = None,
    max_text: int = 64,
    horizon: int = 1,
    idle: float = 600.0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Precision = "float32",
) -> None:
    """Let clients act with an agent over a network: openpi's websocket protocol and OpenAI's chat endpoint; Ctrl-C or SIGTERM ends it.

    Args:
        checkpoint: a checkpoint folder.
        host: address to listen on; any but a loopback one needs a token file.
        port: to listen on; 0 takes a free one.
        token_file: a file with the token that clients must send.
        task: of clients that name none; default: the checkpoint's only task.
        name: of the model for OpenAI's clients.
        sessions: websocket connections at a time, each with a memory of its own.
        chats: chat requests at a time.
        queue: requests of one connection that may wait.
        rate: messages a second of one connection.
        max_message: bytes of one message.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        max_text: tokens of an answer in words, at most.
        horizon: actions in an answer to openpi's clients, all chosen from one observation; at most one less than the queue.
        idle: seconds without a message after which a connection loses its place.
        device: where the network runs; auto: on a GPU where there is one.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
    """
    from opengato.errors import OpenGatoError

    try:
        from opengato.serving.app import serve as run
        from opengato.serving.limits import Limits
    except ImportError as error:
        raise OpenGatoError(f"serving needs a package that is not installed ({error.name}): pip install 'opengato[serve]'") from None

    limits = Limits(sessions=sessions, chats=chats, queue=queue, rate=rate, message_bytes=max_message, idle=idle)
    run(
        checkpoint,
        token_file,
        device,
        precision,
        host=host,
        port=port,
        task=task,
        name=name,
        limits=limits,
        temperature=temperature,
        max_text=max_text,
        horizon=horizon,
    )


@app.command
def robot(
    agent: Positional[str],
    task: Positional[str],
    rate: float = 20.0,
    seconds: float = 30.0,
    late: Literal["hold", "interpolate"] = "hold",
    patience: float = 1.0,
    record: Path | None = None,
    token_file: Path | None = None,
    temperature: float | None = None,
    seed: int = 100_000,
    precision: Precision = "float32",
    compiled: bool = False,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Let an agent move a simulated robot in real time, and print how well the rate was held; Ctrl-C ends it.

    Args:
        agent: a checkpoint folder, or the address of a server, ws://HOST:PORT.
        task: the task's id, such as metaworld/reach.
        rate: control ticks a second; one is one step of the simulator.
        seconds: in all, over as many episodes as fit.
        late: while the agent's action is late, repeat the last one, or glide to the newest.
        patience: seconds without a new action after which the robot is stopped.
        record: folder of Minari datasets to which the episodes are added.
        token_file: a file with the server's token.
        temperature: of a checkpoint's actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        seed: of the first episode; the others follow.
        precision: of a checkpoint's weights; bfloat16 and int8 are quicker on a CPU.
        compiled: run a checkpoint through torch.compile, which needs a C++ compiler, and half a minute before the robot moves.
        as_json: print an object instead of tables.
    """
    from contextlib import ExitStack

    from opengato.errors import OpenGatoError
    from opengato.robots import Recorder, Report, Simulated, Stopped
    from opengato.robots.simulated import episodes

    reports: list[Report] = []
    with ExitStack() as stack:
        body = stack.enter_context(Simulated.of_task(task, rate, seed))
        actor: Any
        if agent.startswith(("ws://", "wss://")):
            from opengato.client import Client

            if token_file is not None and not token_file.is_file():
                raise OpenGatoError(f"token file {token_file} does not exist: give the one that the server was started with")
            actor = stack.enter_context(Client(agent, token_file.read_text().strip() if token_file else None))
        else:
            from opengato.policy.policy import Policy

            actor = Policy.from_pretrained(agent, precision=precision, compiled=compiled, temperature=temperature)
        recorder = Recorder(record) if record else None
        try:
            for report in episodes(body, actor, task, seconds, late=late, patience=patience, record=recorder):
                reports.append(report)
        except Stopped as error:
            reports.append(error.report)
            raise
        finally:
            written = recorder.write(" ".join(["opengato", *sys.argv[1:]])) if recorder else None
            if reports:
                timing = sum((r.timing for r in reports[1:]), reports[0].timing)
                rows = [{"ended": r.ended, "ticks": r.timing.ticks, "return": r.episode_return, "success": r.success} for r in reports]
                if as_json:
                    _print_json(timing.summary() | {"episodes": rows, "recorded": str(written) if written else None})
                else:
                    for r in reports:
                        print(f"{r.timing.ticks} ticks, {r.ended}: return {r.episode_return:.4g}, success {r.success}")
                    print(timing)
                    if written:
                        print(f"recorded: {written}")


class TrainSettings(TypedDict, total=False):
    """Any of these in place of the recipe's."""

    steps: int
    """optimiser steps"""
    seconds: float
    """train for so long instead"""
    batch: int
    """sequences a step, over all ranks"""
    accumulate: int
    """micro-batches a step and rank"""
    seed: int
    """of everything random"""
    parallel: Literal["ddp", "fsdp"]
    """with several ranks (torchrun): weights on each, or shared out"""
    allow_changes: bool
    """go on with a run that was begun with other data, weights, model, sampling, batch, seed or optimiser"""
    recompute: bool
    """activation checkpointing: less memory, a third more time"""
    compile: bool
    """compile the blocks with torch.compile"""
    checkpoint_every: float
    """seconds between two saved states"""
    states: int
    """how many saved states are kept"""
    log_every: int
    """steps between two logged rows"""
    device: str
    """cpu, cuda or auto"""
    autocast: bool
    """compute in bfloat16 where the processor multiplies it"""


class OptimiserSettings(TypedDict, total=False):
    """Any of these in place of the recipe's."""

    learning_rate: float
    """peak rate; of the matrices, where Muon trains them"""
    table_learning_rate: float
    """with Muon: peak rate of tables, norms and biases, by AdamW"""
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    """of matrices"""
    warmup: int
    """steps"""
    final: float
    """last rate as a share of the peak"""
    schedule: Literal["cosine", "linear", "constant"]
    clip: float
    """largest norm of the gradient"""


class ModelSettings(TypedDict, total=False):
    """Any of these in place of the preset's."""

    context: int
    """tokens (positions) a sequence"""
    stochastic_depth: float
    dropout: float
    blocks: int


class SamplingSettings(TypedDict, total=False):
    """Any of these in place of the recipe's."""

    prompt_share: float
    """share of windows that begin with a prompt"""
    short_share: float
    """share of the positions of acting that is in windows of one timestep, from all over the data"""
    return_threshold: float
    """keep episodes with at least this share of the expert's return"""
    return_window: int
    """episodes over which that return is averaged where no reference is stored (paper: W)"""


def _resolved(chosen: Any, settings: TrainSettings, optimiser: OptimiserSettings, sampling: SamplingSettings) -> Any:
    from dataclasses import replace

    config = replace(chosen.train, **settings, optimiser=replace(chosen.train.optimiser, **optimiser))
    return replace(chosen, train=config, sampling=replace(chosen.sampling, **sampling))


@app.command
def train(
    recipe: Positional[str] = "",
    data: tuple[str, ...] = (),
    out: Path = Path("runs/train"),
    root: Path | None = None,
    weights: dict[str, float] | None = None,
    keep_held_out: bool = False,
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    sampling: Annotated[SamplingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    optimiser: OptimiserSettings = {},  # noqa: B006
    model: ModelSettings = {},  # noqa: B006
    show_list: Annotated[bool, tyro.conf.arg(name="list")] = False,
) -> None:
    """Train a recipe on datasets; interrupted, it goes on where it stopped, with the same losses. Under torchrun, on many processes.

    Args:
        recipe: gato-79m, gato-364m, gato-1.2b (the paper's), swift-nano, swift-tiny or swift-small.
        data: Minari dataset ids or folders, text/plain, dialogue/chitchat, captions/emoji, questions/emoji.
        out: the run's folder; the checkpoint is in its subfolder `checkpoint`.
        root: folder of the Minari datasets; default: Minari's own.
        weights: sample weight of every domain, in place of the recipe's: --weights babyai 2 metaworld 1.
        keep_held_out: train on the tasks, too, that the paper holds out for fine-tuning, which its recipes leave out of the data.
        show_list: print the recipes, and what each needs, takes and reaches.
    """
    from opengato.errors import OpenGatoError
    from opengato.recipes import RECIPES
    from opengato.recipes import recipe as find

    if show_list:
        from rich.console import Console
        from rich.table import Table

        table = Table("recipe", "training", "needs", "takes", "should reach", box=None)
        for name, entry in RECIPES.items():
            table.add_row(name, f"{entry.train.steps:,} × {entry.train.batch}; {entry.about}", entry.needs, entry.takes, entry.reaches)
        Console().print(table)
        return
    if not recipe:
        raise OpenGatoError(f"recipe is missing: name one of {', '.join(RECIPES)}")
    chosen = _resolved(find(recipe), settings, optimiser, sampling)
    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example --data captions/emoji")
    from opengato.training.train import train as run

    run(chosen, list(data), out, weights=weights, model=dict(model), root=root, keep_held_out=keep_held_out)


@app.command
def finetune(
    checkpoint: Positional[Path],
    data: tuple[str, ...],
    out: Path = Path("runs/finetune"),
    root: Path | None = None,
    lora: int | None = None,
    freeze: tuple[str, ...] = (),
    dropout: float = 0.1,
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    sampling: Annotated[SamplingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    optimiser: OptimiserSettings = {},  # noqa: B006
) -> None:
    """Go on from a checkpoint with other data, by default as the paper does: Adam, 1e-5, dropout 0.1, batch 64, 10,000 steps.

    Args:
        checkpoint: a checkpoint folder.
        data: as for `train`; of tasks that the checkpoint knows or not.
        out: the run's folder; the checkpoint is in its subfolder `checkpoint`.
        root: folder of the Minari datasets; default: Minari's own.
        lora: rank of low-rank adapters to train in place of the weights; merged at the end.
        freeze: parts of the model that stay as they are, as their names begin: embedding, blocks.0, …
        dropout: on the blocks' branches.
    """
    from opengato.recipes import FINETUNE
    from opengato.training.train import finetune as run

    settled = _resolved(FINETUNE, settings, optimiser, sampling)
    run(checkpoint, settled, list(data), out, lora=lora, freeze=freeze, dropout=dropout, root=root)


@app.command
def demo(minutes: float = 15.0, out: Path = Path("demo"), seed: int = 0) -> None:
    """The whole road: collect from experts, train one network on all of it, evaluate, write a report. Finished stages are kept.

    Args:
        minutes: how long it may take on two cores.
        out: folder of the data, the checkpoint, scores.json and report.html.
        seed: of everything random.
    """
    from opengato.demo import demo as run

    run(minutes, out, seed)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `opengato`."""
    from opengato.errors import OpenGatoError

    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app.cli(args=arguments, prog="opengato", description="OpenGato: one transformer, one set of weights, many bodies.")
    except OpenGatoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
