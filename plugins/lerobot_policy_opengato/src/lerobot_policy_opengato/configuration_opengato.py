"""The settings of an OpenGato policy, as LeRobot's commands take them: --policy.type=opengato --policy.checkpoint=FOLDER."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig

from opengato.errors import OpenGatoError


@PreTrainedConfig.register_subclass("opengato")
@dataclass
class OpenGatoConfig(PreTrainedConfig):
    """Settings of `OpenGatoPolicy`.

    Attributes:
        checkpoint: an OpenGato checkpoint: a folder, weights that come along, or hub:OWNER/NAME. None where the policy is loaded from a
            folder that LeRobot saved, which has one in it.
        task: the checkpoint's task, "lerobot/so101_pick" say, whose spaces the robot has; None: its only one, or those that the batch's own
            "task" names.
        n_action_steps: actions that are taken before the next observation is looked at; more than one is quicker, and blind meanwhile. A
            checkpoint of `--model.chunk` predicts as many at once.
        window: timesteps of a training sequence.
        temperature: of the sampling; None: the task's own kind decides, as in `opengato.Policy`.
        seed: of the sampling.
    """

    checkpoint: str | None = None
    task: str | None = None
    n_action_steps: int = 1
    window: int = 16
    temperature: float | None = None
    seed: int = 0
    # LeRobot's upload after a training leaves out the tokenizer: `opengato release --push` uploads a checkpoint.
    push_to_hub: bool = False

    optimizer_lr: float = 1e-4
    optimizer_weight_decay: float = 0.1

    # A checkpoint measures what it sees by the statistics it was trained with: LeRobot's processors leave everything as it is.
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), NormalizationMode.IDENTITY)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_action_steps", "window"):
            if getattr(self, name) < 1:
                raise OpenGatoError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.push_to_hub:
            raise OpenGatoError(
                "push_to_hub is true, and LeRobot's upload leaves out the tokenizer: leave it false, and upload what was trained by "
                "opengato release FOLDER/opengato OUT --push hub:OWNER/NAME"
            )

    def validate_features(self) -> None:
        """That there is a checkpoint; its features are compared with the robot's when it is loaded."""
        if self.checkpoint is None:
            raise OpenGatoError("the policy has no checkpoint: give --policy.checkpoint, of an agent that opengato train made")

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW, at the rate at which `opengato finetune` begins."""
        return AdamWConfig(lr=self.optimizer_lr, betas=(0.9, 0.95), weight_decay=self.optimizer_weight_decay, grad_clip_norm=1.0)

    def get_scheduler_preset(self) -> None:
        """None: how long is trained is not known here, and a constant rate is the paper's."""
        return None

    @property
    def observation_delta_indices(self) -> list[int]:
        """Frames of a training window, from the one that is drawn."""
        return list(range(self.window))

    @property
    def action_delta_indices(self) -> list[int]:
        """As the observations'."""
        return list(range(self.window))

    @property
    def reward_delta_indices(self) -> None:
        """None: rewards are no part of what is learned."""
        return None
