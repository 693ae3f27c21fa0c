"""The command about networks: info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_json


@command
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
        print_json(facts)
        return
    for key, value in facts.items():
        if key == "tasks":
            print(f"{'tasks':30}{', '.join(value) or 'none: a preset knows no spaces yet'}")
        else:
            print(f"{key.replace('_', ' '):30}{value:,}" if isinstance(value, int) else f"{key:30}{value}")
