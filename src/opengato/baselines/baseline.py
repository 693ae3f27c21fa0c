"""A trained baseline as it acts and as it is saved: `baseline.json`, `model.safetensors` and `starts.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file

from opengato.atomic import replacing, write_text
from opengato.baselines.actor import Actor
from opengato.baselines.cnn import Cnn
from opengato.baselines.features import Features
from opengato.baselines.gru import Gru
from opengato.baselines.lookup import Lookup
from opengato.baselines.networks import Network, make_network
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.targets import TEMPERATURE, Targets
from opengato.datasets.starts import STARTS_FILE, Starts, load_starts, save_starts
from opengato.datasets.store import TokenDataset
from opengato.errors import OpenGatoError
from opengato.layouts import known_layout
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

FILES = ("baseline.json", "model.safetensors", STARTS_FILE)
_BATCH = 256  # timesteps whose loss is taken at a time


@dataclass
class Group:
    """The tasks of one pair of spaces, and the network of theirs. `layout` has the statistics that its numbers are measured in."""

    layout: Layout
    tasks: list[str]
    features: Features
    targets: Targets
    network: Network


@dataclass
class Baseline:
    """One agent for several tasks: a network for each pair of spaces, which is the simplest way to give it all of them.

    Attributes:
        kind: mlp, gru, cnn or lookup. settings: it was made with. groups: of the tasks of the same spaces.
        facts: how it was trained. starts: task id -> the starts of the episodes that it was trained on.
    """

    kind: str
    settings: Settings
    groups: list[Group]
    tokenizer: TextTokenizer
    facts: dict[str, Any] = field(default_factory=dict)
    starts: Starts = field(default_factory=dict)

    @property
    def layouts(self) -> dict[str, Layout]:
        """task id -> layout, of every task it was trained on."""
        return {task: group.layout for group in self.groups for task in group.tasks}

    def layout(self, task: str, observation_space: spaces.Space | None = None, action_space: spaces.Space | None = None) -> Layout:
        """The layout of a task, checked against an environment's spaces where they are given; raises as `known_layout`."""
        return known_layout(self.layouts, task, observation_space, action_space)

    def actor(self, task: str, slots: int, temperature: float | None = None) -> Actor:
        """Agents for this many environments of a task, beside one another.

        `temperature`: of discrete actions, 0 takes the likeliest; None: 0.7 as the engine has it, and 0, the majority, of a lookup.
        """
        group = self._group(task)
        if temperature is None:
            temperature = 0.0 if self.kind == "lookup" else TEMPERATURE
        return Actor(group.network, group.layout, group.targets, self.tokenizer, group.tasks.index(task), slots, temperature)

    @torch.inference_mode()
    def loss(self, data: TokenDataset) -> float:
        """The mean loss over a dataset of a task that it knows, as training has it: of an answer in words, nats a token."""
        group = self._group(data.task)
        if isinstance(group.network, Lookup | Gru):
            raise OpenGatoError(f"a {self.kind} has no loss of single timesteps: take an mlp or a cnn, or let it act")
        known = group.features, group.targets
        pool = Pool(group.layout, [data], group.tasks, self.tokenizer, self.settings, known)
        network, total, count = group.network, 0.0, 0
        for first in range(0, len(pool), _BATCH):
            timesteps = np.arange(first, min(first + _BATCH, len(pool)))
            out, _ = network(pool.inputs(timesteps), torch.zeros(len(timesteps), 0))
            if isinstance(network, Cnn) and network.speaker is not None:
                words = torch.from_numpy(pool.words[timesteps])
                total, count = total + float(network.speaker(out, words).sum()), count + int((words >= 0).sum())
            else:
                total, count = total + float(pool.losses(out, timesteps).sum()), count + len(timesteps)
        return total / count

    def save(self, folder: Path) -> None:
        """Write the three files, each replaced atomically, `baseline.json` last."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{number}.{name}": tensor.detach().contiguous()
            for number, group in enumerate(self.groups)
            for name, tensor in group.network.state_dict().items()
        }
        described = {
            "format": 1,
            "kind": self.kind,
            "settings": asdict(self.settings),
            "tokenizer": self.tokenizer.fingerprint,
            "groups": [
                {"tasks": g.tasks, **g.layout.to_json(), **g.features.to_json(), "pieces": g.targets.pieces.tolist()} for g in self.groups
            ],
            "facts": self.facts,
        }
        save_starts(folder, self.starts)
        with replacing(folder / "model.safetensors") as partial:
            save_file(tensors, partial)
        write_text(folder / "baseline.json", json.dumps(described))

    @classmethod
    def load(cls, folder: Path | str) -> Baseline:
        """Read a baseline's folder. Raises OpenGatoError where it is none."""
        folder = Path(folder)
        if not is_baseline(folder):
            raise OpenGatoError(f"{folder} is no baseline: it has no baseline.json")
        described = json.loads((folder / "baseline.json").read_text())
        tokenizer = TextTokenizer.load()
        if described["tokenizer"] != tokenizer.fingerprint:
            raise OpenGatoError(f"{folder} was trained with another tokenizer than this version's: train the baseline again")
        settings, tensors = Settings(**described["settings"]), load_file(folder / "model.safetensors")
        groups = []
        for number, data in enumerate(described["groups"]):
            layout = Layout.from_json(data)
            features, targets = Features.from_json(layout, data, tokenizer), Targets(layout, data["pieces"])
            network = make_network(described["kind"], features, targets, settings)
            own = {name.split(".", 1)[1]: tensor for name, tensor in tensors.items() if name.split(".", 1)[0] == str(number)}
            network.load_state_dict(own, assign=True)
            groups.append(Group(layout, data["tasks"], features, targets, network.eval()))
        return cls(described["kind"], settings, groups, tokenizer, described["facts"], load_starts(folder))

    def _group(self, task: str) -> Group:
        self.layout(task)
        return next(group for group in self.groups if task in group.tasks)


def is_baseline(folder: Path) -> bool:
    """Whether a folder holds one."""
    return (folder / "baseline.json").is_file()
