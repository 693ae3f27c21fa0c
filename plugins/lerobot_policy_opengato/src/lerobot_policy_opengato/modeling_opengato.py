"""An OpenGato checkpoint that acts, and learns, in LeRobot's loops."""

from __future__ import annotations

import dataclasses
from collections import deque
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from huggingface_hub import snapshot_download
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from opengato.checkpoint import Checkpoint, read_config
from opengato.errors import OpenGatoError
from opengato.hub import HUB
from opengato.layouts import known_layout
from opengato.mixture.packing import Loose, pack_alone
from opengato.model.batch import collate
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine
from opengato.policy.lerobot import ACTION, LeRobotBatches
from opengato.pretrained import agent_folder, names
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode
from opengato.training.optimiser import by_decay

from .configuration_opengato import OpenGatoConfig

INSIDE = "opengato"  # the checkpoint's place in a folder that LeRobot saved
_GRAIN = 64  # lengths of training sequences are multiples of it


class OpenGatoPolicy(PreTrainedPolicy):
    """As many agents as a batch has rows, each acting as an `opengato.Policy` does.

    Its weights are those of `config.checkpoint`. Other arguments that LeRobot's factory gives are of no use to it: a checkpoint has its own
    statistics.

    Raises OpenGatoError where there is no checkpoint, or the robot's features are not those that it was trained with.
    """

    config_class = OpenGatoConfig
    name = "opengato"

    def __init__(self, config: OpenGatoConfig, **_: Any):
        super().__init__(config)
        config.validate_features()
        self.config: OpenGatoConfig = config
        self.checkpoint = Checkpoint.load(cast(str, config.checkpoint), config.device or "cpu")
        self.model = self.checkpoint.model
        layouts = self.checkpoint.layouts
        task = config.task or (next(iter(layouts)) if len(layouts) == 1 else None)
        self._task, self._known = task, dict[str, LeRobotBatches]()
        if task is not None:
            self._take_features(self._batches(task))
        self._draws = np.random.default_rng(config.seed)  # of a training's windows
        self.reset()

    def _batches(self, task: str) -> LeRobotBatches:
        if task not in self._known:
            self._known[task] = LeRobotBatches(known_layout(self.checkpoint.layouts, task))
        return self._known[task]

    def _take_features(self, batches: LeRobotBatches) -> None:
        """The features that the checkpoint was trained with, against those that the robot or dataset has where they are known."""
        wanted = {name: PolicyFeature(FeatureType.STATE, shape) for name, shape in batches.numbers.items()}
        wanted |= {name: PolicyFeature(FeatureType.VISUAL, shape) for name, shape in batches.pictures.items()}
        done = {ACTION: PolicyFeature(FeatureType.ACTION, batches.action)}
        for what, given in ((wanted, self.config.input_features), (done, self.config.output_features)):
            for name, feature in what.items() if given else ():
                if name not in given:
                    raise OpenGatoError(f"the checkpoint was trained with {name!r}, and the robot or dataset has {', '.join(given)}")
                if tuple(given[name].shape) != feature.shape:
                    raise OpenGatoError(
                        f"{name!r} has shape {tuple(given[name].shape)} where the checkpoint was trained with {feature.shape}"
                    )
        self.config.input_features, self.config.output_features = wanted, done

    # ---- acting ----

    def reset(self) -> None:
        """Begin an episode: in all rows of the next batch."""
        self._tasks: list[str] = []
        self._engine: Engine | None = None
        self._queue: deque[Tensor] = deque()
        # The seeds of a row's episodes are those of `Policy`.
        self._chances = getattr(self, "_chances", [])

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The action of every row, float32 (B, n), in the robot's units."""
        if not self._queue:
            self._queue.extend(self.predict_action_chunk(batch).unbind(1))
        return self._queue.popleft()

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next `n_action_steps` actions, float32 (B, steps, n), all chosen from this observation, as `opengato serve` does."""
        tasks = self._tasks_of(batch)
        if self._engine is None:
            self._begin(tasks)
        elif tasks != self._tasks:
            raise OpenGatoError(f"the batch is of {len(tasks)} rows of {set(tasks)}, the one before of {len(self._tasks)}: reset before")
        seen = {task: self._batches(task).observations(batch) for task in dict.fromkeys(tasks)}
        observed = {row: seen[task][row] for row, task in enumerate(tasks)}
        planned = cast(Engine, self._engine).plan(observed, self.config.n_action_steps)
        rows = [self._batches(task).actions(planned[row]) for row, task in enumerate(tasks)]
        return torch.stack(rows).to(self.config.device)

    def _begin(self, tasks: list[str]) -> None:
        model = self.model
        self._engine = Engine(model, self.checkpoint.tokenizer, slots=len(tasks), temperature=self.config.temperature)
        self._tasks = tasks
        self._chances += [np.random.default_rng(self.config.seed + row) for row in range(len(self._chances), len(tasks))]
        for row, task in enumerate(tasks):
            prompt = crop_prompt(self.checkpoint.prompts.get(task), model.config)
            self._engine.reset(row, self.checkpoint.layouts[task], prompt, int(self._chances[row].integers(2**63)))

    def _tasks_of(self, batch: dict[str, Any]) -> list[str]:
        """The checkpoint's task of every row."""
        if self._task is not None:
            return [self._task] * self._batches(self._task).rows(batch)
        said = batch.get("task")
        said = [said] if isinstance(said, str) else list(said or [])
        known = self.checkpoint.layouts
        if not said or any(text not in known for text in said):
            raise OpenGatoError(
                f"the checkpoint has {len(known)} tasks, and the batch's 'task' names none: give --policy.task, {next(iter(known))!r} say"
            )
        return said

    # ---- learning ----

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Matrices, which decay, and the rest."""
        matrices, rest = by_decay(self.model)
        return [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]

    def forward(self, batch: dict[str, Any], reduction: str = "mean") -> tuple[Tensor, dict[str, Any]]:
        """The loss that `opengato train` trains with, of windows of timesteps.

        Args:
            reduction: "mean" over positions that predict; "none": (B,), each row's own.
        """
        if self._task is None:
            raise OpenGatoError(f"the checkpoint has {len(self.checkpoint.layouts)} tasks: say which is trained by --policy.task")
        layout, config = self.checkpoint.layouts[self._task], self.model.config
        form, sizes, windows = Form(layout), [], []
        for episode in self._batches(self._task).episodes(batch, self._task):
            encoded = encode(layout, episode, self.checkpoint.tokenizer)
            starts = config.fold.positions(encoded.kinds, encoded.offsets)[1]
            fit = max(int(np.searchsorted(starts, config.context, side="right")) - 1, 1)  # timesteps that the context holds
            windows.append(Loose(encoded.take(np.arange(fit)) if fit < len(encoded) else encoded, form))
            sizes.append(int(starts[min(fit, len(encoded))]))
        length = min(-(-max(sizes) // _GRAIN) * _GRAIN, config.context)
        sequences = [pack_alone(window, layout, length, config.fold, self._draws, config.chunk) for window in windows]
        packed = collate(sequences, config).to(self.model.table.device)
        losses, shares = self.model(packed), packed.shares()
        if reduction == "mean":
            loss = (losses * shares).sum() / shares.sum()
            return loss, {"timesteps": packed.timesteps}
        row = packed.target_positions // length
        nothing = torch.zeros(len(windows), device=losses.device)
        return nothing.index_add(0, row, losses * shares) / nothing.index_add(0, row, shares), {"timesteps": packed.timesteps}

    # ---- folders ----

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """LeRobot's config.json, and the checkpoint in a folder beside it."""
        if state_dict is not None:
            raise OpenGatoError("the weights are spread over processes, which is not supported here: train on many by opengato train")
        dataclasses.replace(self.config, checkpoint=None, pretrained_path=None)._save_pretrained(Path(save_directory))
        self.checkpoint.save(Path(save_directory) / INSIDE)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_name_or_path: str | Path | None,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        **settings: Any,
    ) -> OpenGatoPolicy:
        """A policy of an OpenGato checkpoint, as `OpenGatoConfig.checkpoint` has it, or of a folder or repository that LeRobot saved.

        Args:
            pretrained_name_or_path: it goes before the configuration's own checkpoint; None, as LeRobot's commands have it where no
                --policy.path is given: that one.
            settings: of the configuration, where it is not given; what else LeRobot's other policies take has no meaning here.
        """
        own = cast("OpenGatoConfig | None", config)
        if pretrained_name_or_path is None:
            if own is None or own.checkpoint is None:
                raise OpenGatoError("there is no folder to load: give one, or a configuration with a checkpoint")
            pretrained_name_or_path = own.checkpoint
        given = str(pretrained_name_or_path)
        if not given.startswith(HUB) and not Path(given).exists() and given not in names() and given.count("/") == 1:
            given = snapshot_download(given, revision=revision)
        folder = agent_folder(given)
        saved = folder / INSIDE
        if not saved.is_dir():
            read_config(folder)  # refuses another program's
            saved = folder
        if own is None:
            own = OpenGatoConfig() if saved == folder else cast(OpenGatoConfig, PreTrainedConfig.from_pretrained(folder))
            known = {field.name for field in dataclasses.fields(OpenGatoConfig)}
            own = dataclasses.replace(own, **{name: value for name, value in settings.items() if name in known})
        own.checkpoint = str(saved)
        policy = cls(own)
        policy.eval()
        return policy
