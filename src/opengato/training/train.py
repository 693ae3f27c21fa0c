"""Train a recipe on datasets, or fine-tune a checkpoint: what `opengato train` and `opengato finetune` run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opengato.checkpoint import Checkpoint, read_config
from opengato.console import notice
from opengato.datasets.demonstrations import best_demonstration
from opengato.datasets.open import find_dataset, open_datasets, weight_of
from opengato.datasets.reading import Budget, Reading
from opengato.datasets.report import warnings_of
from opengato.datasets.starts import join_starts, starts_of
from opengato.datasets.store import TokenDataset
from opengato.domains import tasks
from opengato.errors import OpenGatoError, unknown
from opengato.layouts import is_new
from opengato.mixture import Mixture, Sampling
from opengato.mixture.weights import Stage, of_datasets
from opengato.model.config import ModelConfig, preset
from opengato.model.gato import Gato
from opengato.model.prompt import crop_prompt
from opengato.recipes import Recipe, finetune_recipe, resolve_weights
from opengato.runs import versions
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import Trainer
from opengato.training.lora import add_adapters, merge_adapters
from opengato.training.parallel import join, leave
from opengato.training.stopping import Stopped


def make_model(config: ModelConfig, seed: int) -> Gato:
    """A fresh model whose weights are a function of the seed."""
    torch.manual_seed(seed)
    return Gato(config)


def expert_returns(datasets: list[TokenDataset], sampling: Sampling | None = None) -> dict[str, float]:
    """Task -> expert return, for the return filter: the stored reference where there is one, else the data's own (paper, appendix D).

    The paper: the largest mean return of any W episodes in a row, W = min(`return_window`, N / 10). Tasks whose returns are all alike
    have none, and episodes of the validation have no say, nor have relabelled ones.
    """
    sampling = sampling or Sampling()
    out = {}
    for data in datasets:
        returns = data.returns[~data.in_validation(sampling.validation_share) & ~data.relabelled]
        if not len(returns):
            continue  # the mixture says so
        task = tasks().get(data.task)
        if task is not None and task.measured:
            # Not above the best of this data: three searched games need not reach the mean of the reference.
            out[data.task] = min(task.reference.expert, float(returns.max()))
        elif np.ptp(returns) > 0:
            width = max(1, min(sampling.return_window, len(returns) // 10))
            out[data.task] = float(np.convolve(returns, np.ones(width) / width, mode="valid").max())
    return out


def long_only(datasets: list[TokenDataset], sampling: Sampling) -> tuple[str, ...]:
    """The patterns of the sampling, and the tasks among the data that say of themselves that they need a past."""
    if not sampling.short_share:
        return tuple(sampling.long_only)
    known = tasks()
    needing = sorted(data.task for data in datasets if data.task in known and known[data.task].needs_past)
    return (*sampling.long_only, *needing)


def best_prompts(datasets: list[TokenDataset], config: ModelConfig, validation_share: float = 0.0) -> dict[str, Encoded]:
    """For every task that is acted in, what the model reads of its best demonstration, where there is one that fits."""
    found = {data.task: crop_prompt(best_demonstration(data, validation_share), config) for data in datasets}
    return {task: prompt for task, prompt in found.items() if prompt is not None}


def trained_on(datasets: list[TokenDataset]) -> dict[str, dict[str, Any]]:
    """Of every task how much there was to train on, in all its datasets, by whom, and at which rate where that is told."""
    found: dict[str, dict[str, Any]] = {}
    for data in datasets:
        told = found.setdefault(data.task, {"episodes": 0, "timesteps": 0, "by": []})
        told["episodes"] += len(data)
        told["timesteps"] += data.timesteps
        told["by"] += [name for name in data.source_names if name not in told["by"]]
        if data.rate:
            told["rate"] = data.rate
    return found


def make_checkpoint(trainer: Trainer, datasets: list[TokenDataset], tokenizer: TextTokenizer) -> Checkpoint:
    """The trained model with everything it needs."""
    share = trainer.mixture.sampling.validation_share
    prompts = best_prompts(datasets, trainer.model.config, share)
    facts = {
        "steps": trainer.step,
        "seed": trainer.config.seed,
        "train": asdict(trainer.config),
        "data": trained_on(datasets),
        "versions": dict(versions()),
    }
    return Checkpoint(trainer.model, tokenizer, trainer.mixture.layouts, prompts, facts, starts_of(datasets, share))


def train(
    chosen: Recipe,
    data: list[str],
    out: Path,
    *,
    weights: dict[str, float] | None = None,
    gaps: dict[str, float] | None = None,
    stages: dict[int, dict[str, float]] | None = None,
    model: dict[str, Any] | None = None,
    root: Path | None = None,
    pictures: Budget | None = None,
    skip_bad: float = 0.0,
    keep_held_out: bool = False,
) -> Checkpoint:
    """Train a recipe from scratch, or go on with the run in `out`.

    Args:
        data: names, see `open_dataset`; where one has a @weight, these are the run's weights, in place of the recipe's.
        weights: domain, task or pattern of tasks -> sample weight (see `mixture.weights`); of domains in place of the recipe's.
        gaps: task -> weight within its domain, of tasks that `weights` does not name; those without data are passed over.
        stages: from these steps on other weights, each as `weights`; a domain that is not named rests.
        model: fields of ModelConfig in place of the preset's.
        root: folder of Minari datasets; default: Minari's own.
        pictures: what a photograph may take; less where a context would have no room for words. skip_bad: see `tokenise`.
        keep_held_out: train on the tasks, too, that the recipe holds out.
    """
    config = replace(preset(chosen.model), **(model or {}))
    reading = Reading(root, pictures=pictures_within(pictures, config))
    datasets, tokenizer = open_all(data, chosen.train.device, reading, skip_bad=skip_bad, in_bins=config.in_bins)
    kept = datasets if keep_held_out else without_held_out(datasets, chosen)
    weights, datasets = own_weights(data, datasets, kept) | (weights or {}) or None, kept
    resolved, missing = weights_of_run(weights, gaps, chosen, datasets)
    later = {step: _weights_of_stage(of_stage, gaps, chosen, datasets) for step, of_stage in sorted((stages or {}).items())}
    if missing:
        notice(f"no data of {', '.join(missing)}: the weights of the others are scaled up")
    trainer = make_trainer(make_model(config, chosen.train.seed), datasets, resolved, chosen, out, stages=later)
    return finish(trainer, datasets, tokenizer, out)


def own_weights(names: Sequence[str], datasets: Sequence[TokenDataset], kept: Sequence[TokenDataset]) -> dict[str, float]:
    """Weights by name as the @weights of the datasets' names say, of those that are kept; empty where none has one."""
    tasks = {data.task for data in kept}
    found = [(data.task, weight_of(name)[1]) for name, data in zip(names, datasets, strict=True) if data.task in tasks]
    return of_datasets([task for task, _ in found], [weight for _, weight in found])


def pictures_within(pictures: Budget | None, config: ModelConfig) -> Budget:
    """What a picture may take of a model's context: at most half of it, so that there is room for its words. Says where that is less."""
    wanted = pictures or Budget()
    found = wanted.within(config.context // 2 * max(config.fold.patches_per_position, 1))
    if found != wanted:
        notice(f"pictures of {wanted} patches leave no room for words in a context of {config.context}: {found}")
    return found


def weights_of_run(
    weights: dict[str, float] | None, gaps: dict[str, float] | None, chosen: Recipe, datasets: list[TokenDataset]
) -> tuple[dict[str, float], list[str]]:
    """See `resolve_weights`: weights as they are given, those of domains from the recipe where none is; `gaps` of tasks besides."""
    tasks = {task: weight for task, weight in (gaps or {}).items() if task in {d.task for d in datasets}}
    given = weights or {}
    of_recipe = {} if any("/" not in name for name in given) else chosen.weights or {}
    return resolve_weights(of_recipe | tasks | given or None, {d.domain for d in datasets})


def _weights_of_stage(
    weights: dict[str, float], gaps: dict[str, float] | None, chosen: Recipe, datasets: list[TokenDataset]
) -> dict[str, float]:
    """As `weights_of_run`; domains that a stage does not name, where it names any, rest."""
    if any("/" not in name for name in weights):
        weights = dict.fromkeys({data.domain for data in datasets}, 0.0) | weights
    return weights_of_run(weights, gaps, chosen, datasets)[0]


def without_held_out(datasets: list[TokenDataset], chosen: Recipe) -> list[TokenDataset]:
    """Those that the recipe trains on; says which are left out. Raises OpenGatoError where none is left."""
    kept = [data for data in datasets if data.task not in chosen.held_out]
    if left_out := sorted({data.task for data in datasets} & set(chosen.held_out)):
        notice(f"{', '.join(left_out)}: held out by the recipe, as in the paper (--keep-held-out trains on them too)")
    if not kept:
        raise OpenGatoError(f"data has only tasks that the recipe holds out, {', '.join(left_out)}: add others, or use --keep-held-out")
    return kept


def recipe_of_finetuning(
    folder: Path, data: list[str], adapters: bool = False, root: Path | None = None, views: Mapping[str, Layout] | None = None
) -> Recipe:
    """How to go on from a checkpoint with these data, see `finetune_recipe`: new is what is observed in spaces of which it knows none.

    `views`: as for `finetune`; what they read is not new.
    """
    config, unread = read_config(folder), [name for name in data if name not in (views or {})]
    new = unread == data and all(is_new(config["tasks"].values(), find_dataset(name, Reading(root)).observation_space) for name in data)
    return finetune_recipe(config["model"]["family"], adapters, new)


def finetune(
    folder: Path,
    chosen: Recipe,
    data: list[str],
    out: Path,
    *,
    lora: int | None = None,
    freeze: Sequence[str] = (),
    dropout: float = 0.1,
    root: Path | None = None,
    pictures: Budget | None = None,
    skip_bad: float = 0.0,
    views: Mapping[str, Layout] | None = None,
) -> Checkpoint:
    """Go on from a checkpoint with other data, whose spaces it need not know (paper, section 5.2).

    Args:
        folder: of the checkpoint. chosen: steps, batch and optimiser; its model is the checkpoint's.
        lora: rank of low-rank adapters, trained in place of the weights and merged at the end; None trains the weights.
        freeze: parts of the model to leave as they are, as their names begin: embedding, blocks.0, …
        dropout: paper: 0.1. pictures, skip_bad: see `train`.
        views: name -> how that dataset is read as a space that the checkpoint knows, see `views.find.find_views`.
    """
    start = Checkpoint.load(folder)
    model = make_model(replace(start.model.config, dropout=dropout), chosen.train.seed)
    model.load_state_dict(start.model.state_dict())
    if lora is not None:
        add_adapters(model, lora)
    for prefix in freeze:
        frozen = [p for name, p in model.named_parameters() if name.startswith(prefix)]
        if not frozen:
            raise unknown("part of the model", prefix, {name.split(".")[0] for name, _ in model.named_parameters()})
        for parameter in frozen:
            parameter.requires_grad_(False)
    reading = Reading(root, pictures=pictures_within(pictures, start.model.config))
    datasets, tokenizer = open_all(data, chosen.train.device, reading, start.tokenizer, skip_bad, start.model.config.in_bins, views)
    weights = own_weights(data, datasets, datasets)
    resolved, _ = resolve_weights(weights or chosen.weights, {d.domain for d in datasets})
    trainer = make_trainer(model, datasets, resolved, chosen, out, start.layouts)
    seen = {dataset.task: views[name] for name, dataset in zip(data, datasets, strict=True) if name in views} if views else {}
    return finish(trainer, datasets, tokenizer, out, start, seen)


def open_all(
    names: list[str],
    device: str = "auto",
    reading: Reading | None = None,
    tokenizer: TextTokenizer | None = None,
    skip_bad: float = 0.0,
    in_bins: bool = True,
    views: Mapping[str, Layout] | None = None,
) -> tuple[list[TokenDataset], TextTokenizer]:
    """Open datasets; with several ranks the first tokenises what the cache lacks, and the others wait for it.

    `tokenizer`: of their texts; default: the one that is shipped. in_bins: warn of values that share a bin, see `Survey.lines`. views: see
    `open_datasets`.
    """
    ranks = join(device)
    tokenizer = tokenizer or TextTokenizer.load()
    if not ranks.first:
        ranks.wait()
    datasets = open_datasets(names, tokenizer, skip_bad=skip_bad, reading=reading, views=views)
    if ranks.first:
        ranks.wait()
        for name in names:
            for line in warnings_of(find_dataset(name, reading), in_bins=in_bins):
                notice(f"{name}: {line}")
    return datasets, tokenizer


def make_trainer(
    model: Gato,
    datasets: list[TokenDataset],
    weights: dict[str, float],
    chosen: Recipe,
    out: Path,
    layouts: dict[str, Layout] | None = None,
    stages: dict[int, dict[str, float]] | None = None,
) -> Trainer:
    """A trainer of `model` on the recipe's mixture of the datasets; the run in `out` is gone on with.

    `layouts`: those whose statistics the model has learned with already. `stages`: step -> weights from there on.
    """
    config = model.config
    chosen = replace(chosen, sampling=replace(chosen.sampling, long_only=long_only(datasets, chosen.sampling)))
    mixture = Mixture(
        datasets,
        [Stage(0, weights), *(Stage(step * chosen.train.batch, later) for step, later in (stages or {}).items())],
        config.context,
        config.fold,
        chosen.train.seed,
        replace(chosen.sampling, moments=config.moments),
        expert_returns(datasets, chosen.sampling),
        layouts,
        config.chunk,
    )
    facts = {
        "recipe": {k: v for k, v in asdict(chosen).items() if k not in ("train", "needs", "takes", "reaches", "about")},
        "datasets": {d.task: d.fingerprint for d in datasets},
        "weights": weights,
        "stages": stages or {},
    }
    return Trainer(model, mixture, chosen.train, out, facts)


def finish(
    trainer: Trainer,
    datasets: list[TokenDataset],
    tokenizer: TextTokenizer,
    out: Path,
    start: Checkpoint | None = None,
    seen: Mapping[str, Layout] | None = None,
) -> Checkpoint:
    """Train to the end and write `out/checkpoint`; what `start` knew besides stays known.

    `seen`: task -> the layout of what is observed of it, where its data were read as another space.

    Raises Stopped after SIGTERM: the agent as it is then stands in `out/unfinished`, until the same command has trained it to the end.
    """
    stopped = None
    try:
        trainer.run()
    except Stopped as told:
        stopped = told
    name = "unfinished" if stopped else "checkpoint"
    trainer.gather()
    merge_adapters(trainer.model)
    checkpoint = make_checkpoint(trainer, datasets, tokenizer)
    checkpoint.layouts = {**checkpoint.layouts, **(seen or {})}
    if start is not None:
        checkpoint.layouts = {**start.layouts, **checkpoint.layouts}
        checkpoint.starts = join_starts(start.starts, checkpoint.starts)
        checkpoint.prompts = {**start.prompts, **checkpoint.prompts}
        checkpoint.facts["data"] = {**start.facts.get("data", {}), **checkpoint.facts["data"]}
    if trainer.ranks.first:
        checkpoint.save(out / name)
        print(f"{out / name}: {trainer.step} steps" + (", stopped: the same command goes on" if stopped else ""), flush=True)
        if not stopped:
            shutil.rmtree(out / "unfinished", ignore_errors=True)
    leave()
    if stopped:
        raise stopped
    return checkpoint
