"""What LeRobot does to a batch before and after an OpenGato policy: names, the batch axis and the device; no number is changed."""

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyProcessorPipeline, make_default_pre_post_processors

from .configuration_opengato import OpenGatoConfig


def make_opengato_pre_post_processors(
    config: OpenGatoConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """LeRobot's usual steps, whose normalisation the configuration has set to none."""
    return make_default_pre_post_processors(config, dataset_stats)
