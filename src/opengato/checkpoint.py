"""Checkpoints: all that an agent needs, as `config.json`, `model`, `prompts` and `starts.safetensors`, and `tokenizer.model`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from opengato.atomic import replacing, write_text
from opengato.console import detail
from opengato.datasets.starts import Starts, load_starts, save_starts
from opengato.errors import OpenGatoError
from opengato.hub import FILES
from opengato.layouts import known_layout
from opengato.model.config import ModelConfig
from opengato.model.embedding import TABLE_STD
from opengato.model.gato import Gato
from opengato.model.rounding import in_bytes
from opengato.pretrained import agent_folder
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import GRIDS

# Of config.json and what lies beside it. It grows where a version without the change would read a checkpoint wrongly or not at all; a
# version reads its own format and all before it, of each of which tests/checkpoints keeps one.
FORMAT = 5
_KINDS_AS_NOW = 3  # until then no kind of token was a grid, and the numbers of actions' kinds began where those of grids do

_WORDS = "embedding.tokens.words.weight"
_SCALE = "|scale"  # of each row, beside a matrix of bytes
_PROMPT_ARRAYS = ("tokens", "kinds", "local", "offsets", "patches", "boxes")


@dataclass
class Checkpoint:
    """An agent as it is saved.

    Attributes:
        model: the network. tokenizer: of its text.
        layouts: task id -> layout, of every task it was trained on.
        prompts: task id -> the beginning of a successful demonstration (paper, section 2.4), where there is one.
        starts: task id -> the starts of the episodes that it was trained on.
        facts: what else is worth keeping: how it was trained.
    """

    model: Gato
    tokenizer: TextTokenizer
    layouts: dict[str, Layout]
    prompts: dict[str, Encoded] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    starts: Starts = field(default_factory=dict)

    def layout(self, task: str, observation_space: spaces.Space | None = None, action_space: spaces.Space | None = None) -> Layout:
        """The layout of a task, checked against an environment's spaces where they are given; raises as `known_layout`."""
        return known_layout(self.layouts, task, observation_space, action_space)

    def rate(self, task: str) -> float | None:
        """Timesteps a second of the demonstrations of a task, where they said so: at another rate the same actions mean another motion."""
        return self.facts.get("data", {}).get(task, {}).get("rate")

    def save(self, folder: Path, bits: int = 32) -> None:
        """Write the five files, each replaced atomically.

        `bits`: of a weight; 16 and 8 to be given away. With 16 they are rounded to bfloat16, with 8 those of matrices to 255 steps of their
        row's largest. Those of words are left out where no task has any text; loaded, they are as an untrained network has them. Words that
        training never met become zeros, which say nothing when they are read, and take no room once they are compressed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        left_out = [_WORDS] if bits < 32 and not any(layout.has_text for layout in self.layouts.values()) else []
        if bits < 32:
            weights[_WORDS] = weights[_WORDS].masked_fill(self._unmet_words()[:, None], 0)
            weights = _rounded({name: tensor for name, tensor in weights.items() if name not in left_out}, bits)
        with replacing(folder / "model.safetensors") as path:
            save_file(weights, path, metadata={"format": "pt"})
        arrays = {f"{task}|{name}": np.ascontiguousarray(getattr(p, name)) for task, p in self.prompts.items() for name in _PROMPT_ARRAYS}
        with replacing(folder / "prompts.safetensors") as path:
            save_arrays(arrays, path)
        with replacing(folder / "tokenizer.model") as path:
            path.write_bytes(self.tokenizer.bytes)
        save_starts(folder, self.starts)
        config = {
            "format": FORMAT,
            "model": self.model.config.to_json(),
            "tasks": _each_once({task: layout.to_json() for task, layout in self.layouts.items()}),
            "facts": self.facts,
            **({"left_out": left_out} if left_out else {}),
        }
        write_text(folder / "config.json", _readable(config))

    def _unmet_words(self) -> torch.Tensor:
        """Which rows of words, bool (rows,), are as they were before training; none of them where the seed of that is not known."""
        words = self.model.embedding.tokens.words.weight.detach().cpu()
        if (seed := self.facts.get("train", {}).get("seed")) is None:
            return torch.zeros(len(words), dtype=torch.bool)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return (words == Gato(self.model.config).embedding.tokens.words.weight.detach()).all(1)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Checkpoint:
        """Read a checkpoint folder, weights that come along, or hub:OWNER/NAME. Raises OpenGatoError where there are none."""
        folder = agent_folder(folder)
        config = read_config(folder)
        with torch.device("meta"):
            model = Gato(ModelConfig(**config["model"]))
        weights = load_file(folder / "model.safetensors", device=str(device))
        weights = _unrounded(weights)
        for name in config.get("left_out", []):
            untrained = torch.empty(model.state_dict()[name].shape).normal_(std=TABLE_STD, generator=torch.Generator().manual_seed(0))
            weights[name] = untrained.to(device)
        missing, unexpected = model.load_state_dict(weights, strict=False, assign=True)
        if missing or unexpected:
            raise OpenGatoError(
                f"{folder / 'model.safetensors'} does not fit its config.json: it lacks {missing[:3]}, has {unexpected[:3]}"
            )
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        layouts = _layouts(config["tasks"])
        arrays = load_arrays(folder / "prompts.safetensors") if (folder / "prompts.safetensors").is_file() else {}
        names = {key.split("|")[0] for key in arrays}
        if config["format"] < _KINDS_AS_NOW:
            for name in (f"{task}|kinds" for task in names):
                arrays[name] += np.where(arrays[name] >= GRIDS.start, len(GRIDS), 0).astype(np.uint8)
        prompts = {task: Encoded(**{name: arrays[f"{task}|{name}"] for name in _PROMPT_ARRAYS}) for task in names}
        tokenizer = TextTokenizer.load(folder / "tokenizer.model")
        detail(f"{folder}: {model.parameter_count():,} parameters, {len(layouts)} tasks, {len(prompts)} demonstrations")
        return cls(model.eval(), tokenizer, layouts, prompts, config.get("facts", {}), load_starts(folder))


def _rounded(weights: dict[str, torch.Tensor], bits: int) -> dict[str, torch.Tensor]:
    """Of 16 bits, or 8 where they are matrices, with their scales."""
    found = {}
    for name, tensor in weights.items():
        found[name] = tensor.to(torch.bfloat16)
        if bits == 8 and tensor.ndim == 2:
            found[name], found[name + _SCALE] = in_bytes(tensor)
    return found


def _unrounded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """float32, whatever they were rounded to."""
    found = {name: tensor.float() for name, tensor in weights.items() if not name.endswith(_SCALE)}
    for name, tensor in weights.items():
        if name.endswith(_SCALE):
            found[name.removesuffix(_SCALE)] *= tensor[:, None]
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json, every task with its own layout.

    Raises OpenGatoError where there is none, or it is of a format that this version does not know.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise OpenGatoError(f"{folder} is no checkpoint: it has no config.json")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise OpenGatoError(f"{path} is damaged ({error}): take the checkpoint from where it was made") from None
    found = config.get("format") if isinstance(config, dict) else None
    if not isinstance(found, int) or found < 1:
        raise OpenGatoError(f"{path} has format {found!r}, which is none of a checkpoint: name a folder that OpenGato wrote")
    if found > FORMAT:
        raise OpenGatoError(
            f"{path} has format {found}, and this version of OpenGato reads formats up to {FORMAT}: pip install --upgrade opengato"
        )
    tasks = config["tasks"]
    return config | {"tasks": {task: tasks[layout] if isinstance(layout, str) else layout for task, layout in tasks.items()}}


def _each_once(layouts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any] | str]:
    """Layouts by task, and in the place of one that an earlier task has, that task: a domain's tasks mostly are all alike."""
    first: dict[str, str] = {}
    found = {task: first.setdefault(json.dumps(layout), task) for task, layout in layouts.items()}
    return {task: layouts[task] if other == task else other for task, other in found.items()}


def _layouts(described: dict[str, dict[str, Any]]) -> dict[str, Layout]:
    """Layouts by task; tasks with the same one share it."""
    made: dict[int, Layout] = {}
    for layout in described.values():
        if id(layout) not in made:
            made[id(layout)] = Layout.from_json(layout)
    return {task: made[id(layout)] for task, layout in described.items()}


def checkpoint_files(folder: Path) -> list[Path]:
    """The files of a checkpoint, all that must travel with it."""
    return [path for name in FILES if (path := folder / name).is_file()]


def _readable(config: Any) -> str:
    """JSON to look at: indented, but a list of numbers, of which statistics have thousands, is a line."""
    # Only what is indented has a line's end, which a text never has: json escapes its own.
    return re.sub(r"\[\n[-+\w., \n]+\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]", json.dumps(config, indent=1))
