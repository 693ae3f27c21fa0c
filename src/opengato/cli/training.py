"""Commands that train: train, finetune; and what of a recipe can be set on the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import tyro
from tyro.conf import Positional

from opengato.cli.app import command
from opengato.runs import recorded


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
    validate_every: int
    """steps between two measurements of the loss on episodes never trained on; see validation-share"""
    validation_batches: int
    """batches that such a measurement takes"""
    workers: int
    """processes that make batches beside the training; 0: a thread"""
    tracker: tuple[Literal["wandb", "trackio"], ...]
    """who is told of the rows besides TensorBoard, offline; $WANDB_MODE online sends them to its server"""
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
    sees_choices: bool
    """swift: read one's discrete actions of the past"""
    chunk: int
    """swift: actions in a row that are predicted from one observation"""


class SamplingSettings(TypedDict, total=False):
    """Any of these in place of the recipe's."""

    prompt_share: float
    """share of windows that begin with a prompt"""
    short_share: float
    """share of the positions of acting that is in windows of one timestep, from all over the data"""
    long_only: tuple[str, ...]
    """tasks, or patterns of tasks, of which there are none of those: what is seen now does not say what to do;
    besides those that are known to need a past"""
    size_power: float
    """within its domain a task weighs as the number of its timesteps to this power; 0: all alike"""
    return_threshold: float
    """keep episodes with at least this share of the expert's return"""
    return_window: int
    """episodes over which that return is averaged where no reference is stored (paper: W)"""
    validation_share: float
    """share of every task's episodes that is never trained on, but measured on"""
    shift: int
    """pixels by which a picture that words are said of is moved at most, each time anew"""


class ReadingSettings(TypedDict, total=False):
    """How datasets are read."""

    pictures: str
    """patches that a picture of a photograph or a page may take, width x height, its own shape kept within it: 4x4, 12x9"""
    skip_bad: float
    """leave samples out that are damaged, up to this share of them"""


def reading_of(settings: ReadingSettings) -> dict[str, Any]:
    """As the library takes them. Raises OpenGatoError for one that is wrong."""
    from opengato.datasets.reading import Budget
    from opengato.errors import OpenGatoError

    skip_bad = settings.get("skip_bad", 0.0)
    if not 0 <= skip_bad < 1:
        raise OpenGatoError(f"skip_bad is {skip_bad:g}: give a share of the samples, 0.01 say")
    return {"pictures": Budget.parse(settings["pictures"]) if "pictures" in settings else None, "skip_bad": skip_bad}


def _resolved(chosen: Any, settings: TrainSettings, optimiser: OptimiserSettings, sampling: SamplingSettings) -> Any:
    from dataclasses import replace

    config = replace(chosen.train, **settings, optimiser=replace(chosen.train.optimiser, **optimiser))
    return replace(chosen, train=config, sampling=replace(chosen.sampling, **sampling))


def _settled(chosen: Any) -> dict[str, Any]:
    """The arguments that say what a recipe says, whatever a later version's recipe of that name does."""
    parts = (("settings", chosen.train, TrainSettings), ("optimiser", chosen.train.optimiser, OptimiserSettings))
    found = {}
    for name, part, kind in (*parts, ("sampling", chosen.sampling, SamplingSettings)):
        values = {field: getattr(part, field) for field in kind.__annotations__}
        found[name] = {field: value for field, value in values.items() if value is not None}
    return found


@command
def train(
    recipe: Positional[str] = "",
    data: tuple[str, ...] = (),
    out: Path = Path("runs/train"),
    hours: float | None = None,
    root: Path | None = None,
    weights: dict[str, float] | None = None,
    weights_by_gap: Path | None = None,
    stages: Path | None = None,
    return_thresholds: dict[str, float] | None = None,
    keep_held_out: bool = False,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    sampling: Annotated[SamplingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    optimiser: OptimiserSettings = {},  # noqa: B006
    model: ModelSettings = {},  # noqa: B006
    show_list: Annotated[bool, tyro.conf.arg(name="list")] = False,
) -> None:
    """Train a recipe on datasets; interrupted, it goes on where it stopped, with the same losses. Under torchrun, on many processes.

    Args:
        recipe: gato-79m, gato-364m, gato-1.2b (the paper's), swift-nano, swift-tiny or swift-small; swift-dN is N deep.
        data: Minari dataset ids or folders; text/plain, dialogue/chitchat, captions/emoji, questions/emoji; FORMAT:PATH[,PATH][@weight], as
            docs/data.md lists them, coco:captions.json,images/@0.67 say: once one has a weight, the datasets' own are the run's, else 1.
        out: the run's folder; the checkpoint is in its subfolder `checkpoint`.
        hours: in place of a recipe: train for so long, a network as large as learns the most in it on this machine (docs/scaling.md).
        root: folder of the Minari datasets; default: Minari's own.
        weights: sample weight of every domain, in place of the recipe's, and of tasks or patterns of them within their domain, where
            all others weigh 1: --weights babyai 2 metaworld 1 "babyai/go-to-*" 3.
        weights_by_gap: scores of an agent, as `opengato eval CHECKPOINT --json` prints them: within its domain a task weighs as far as
            it is from the expert, but for those that `weights` names.
        stages: a JSON file, step -> weights from there on, {"1000": {"babyai": 1, "metaworld": 1}}; domains it does not name rest.
        return_thresholds: return-threshold by domain, task or pattern of tasks: --return-thresholds atari 0.8 "babyai/go-to-*" 0.5.
        keep_held_out: train on the tasks, too, that the paper holds out for fine-tuning, which its recipes leave out of the data.
        show_list: print the recipes, and what each needs, takes and reaches.
    """
    arguments = dict(locals())
    from dataclasses import replace

    from opengato.errors import OpenGatoError
    from opengato.model.config import preset
    from opengato.recipes import RECIPES
    from opengato.recipes import recipe as find
    from opengato.training.hours import choose, recipe_for

    if show_list:
        from rich.console import Console
        from rich.table import Table

        table = Table("recipe", "training", "needs", "takes", "should reach", box=None)
        for name, entry in RECIPES.items():
            table.add_row(name, f"{entry.train.steps:,} × {entry.train.batch}; {entry.about}", entry.needs, entry.takes, entry.reaches)
        Console().print(table)
        return
    if hours is not None and (recipe or "steps" in settings or "seconds" in settings):
        raise OpenGatoError(f"hours is {hours:g}, which choose the network and how long it is trained: leave recipe, steps and seconds out")
    if not recipe and hours is None:
        raise OpenGatoError(f"recipe is missing: name one of {', '.join(RECIPES)}, or give --hours and it is chosen")
    chosen = _resolved(find(recipe) if hours is None else recipe_for(hours), settings, optimiser, sampling)
    chosen = replace(chosen, sampling=replace(chosen.sampling, return_thresholds=return_thresholds or {}))
    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example --data captions/emoji")
    from opengato.mixture.weights import by_gap
    from opengato.training.train import train as run

    gaps = by_gap(_read_json(weights_by_gap)) if weights_by_gap is not None else None
    read = {"weights": weights, "gaps": gaps, "stages": _read_stages(stages)} | reading_of(reading)
    if hours is not None:
        how = {"weights": weights, "model": dict(model), "root": root, "keep_held_out": keep_held_out} | reading_of(reading)
        chosen = choose(hours, chosen, list(data), out, **how)  # type: ignore[arg-type]
        arguments |= {"recipe": chosen.model, "hours": None}  # what was chosen is what is trained again
    of_model = {name: getattr(replace(preset(chosen.model), **model), name) for name in ModelSettings.__annotations__}
    with recorded(out, "train", arguments | _settled(chosen) | {"model": of_model}):
        run(chosen, list(data), out, **read, model=dict(model), root=root, keep_held_out=keep_held_out)  # type: ignore[arg-type]


def _read_stages(path: Path | None) -> dict[int, dict[str, float]]:
    from opengato.errors import OpenGatoError

    found = _read_json(path) if path is not None else {}
    if not all(step.isdigit() and isinstance(weights, dict) for step, weights in found.items()):
        raise OpenGatoError(f'{path} has no stages: write {{"1000": {{"babyai": 1, "metaworld": 2}}}}, a step and weights from there on')
    return {int(step): weights for step, weights in found.items()}


def _read_json(path: Path) -> Any:
    from opengato.errors import OpenGatoError

    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OpenGatoError(f"{path} cannot be read as JSON: {error}") from None


@command
def finetune(
    checkpoint: Positional[Path],
    data: tuple[str, ...],
    out: Path = Path("runs/finetune"),
    root: Path | None = None,
    lora: int | None = None,
    freeze: tuple[str, ...] = (),
    dropout: float = 0.1,
    read_as_known: bool = True,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    sampling: Annotated[SamplingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    optimiser: OptimiserSettings = {},  # noqa: B006
) -> None:
    """Go on from a checkpoint with other data, by default in 1,000 steps of 4 sequences, Adam's rate falling from 1e-4, dropout 0.1.

    What is observed in a space that the checkpoint does not know is read as one that it does, where it so foretells the demonstrations: the
    same body with other sensors, a smaller view. Adapters' rate falls from 1e-3, and from 5e-4 where nothing that is observed is known. One
    of the paper's family is trained as in the paper: rate 1e-5, batch 64, 10,000 steps.

    Args:
        checkpoint: a checkpoint folder, or the name of weights that come along.
        data: as for `train`; of tasks that the checkpoint knows or not.
        out: the run's folder; the checkpoint is in its subfolder `checkpoint`.
        root: folder of the Minari datasets; default: Minari's own.
        lora: rank of low-rank adapters to train in place of the weights; merged at the end.
        freeze: parts of the model that stay as they are, as their names begin: embedding, blocks.0, …
        dropout: on the blocks' branches.
        read_as_known: look for a space that the checkpoint knows to read an unknown one as.
    """
    arguments = dict(locals())
    from opengato.datasets.reading import Reading
    from opengato.pretrained import agent_folder
    from opengato.training.train import finetune as run
    from opengato.training.train import recipe_of_finetuning
    from opengato.views.find import find_views

    checkpoint, names, read = agent_folder(checkpoint), list(data), reading_of(reading)
    views = find_views(checkpoint, names, Reading(root)) if read_as_known else {}
    settled = _resolved(recipe_of_finetuning(checkpoint, names, lora is not None, root, views), settings, optimiser, sampling)
    with recorded(out, "finetune", arguments | _settled(settled)):
        run(checkpoint, settled, names, out, lora=lora, freeze=freeze, dropout=dropout, root=root, views=views, **read)
