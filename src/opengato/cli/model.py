"""Commands about networks: info, pretrained, release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_json


@command
def info(model: Positional[str], as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """Describe a preset or a checkpoint.

    Args:
        model: a preset's name, such as gato-79m, a folder with a config.json, or weights that come along.
        as_json: print an object instead of lines.
    """
    import torch

    from opengato.checkpoint import read_config
    from opengato.hub import HUB
    from opengato.model.config import ModelConfig, preset
    from opengato.model.gato import Gato
    from opengato.pretrained import agent_folder, names

    folder = Path(model)
    if model in names() or model.startswith(HUB):
        folder = agent_folder(model)
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


@command
def pretrained() -> None:
    """List the weights that come along; their names stand wherever a checkpoint folder may."""
    from opengato.pretrained import about, names

    for name in names():
        print(f"{name}: {about(name)}")
    if not names():
        print("none come along yet")


@command
def release(
    checkpoint: Positional[Path],
    out: Positional[Path],
    about: str,
    scores: Path | None = None,
    trained_with: str = "",
    licences: dict[str, str] | None = None,
    words: Path | None = None,
    push: str | None = None,
    public: bool = False,
    bits: Literal[16, 8] = 16,
) -> None:
    """Make a checkpoint small, to be given away, with a model card: rounded weights, no rows of words where no task has text.

    Args:
        checkpoint: a checkpoint folder.
        out: the folder to write.
        about: a sentence or two, which open the card.
        scores: what `opengato eval --json` printed of the released folder, for the card; run again once it is there.
        trained_with: the commands that made it.
        licences: of the data of domains, for the card: --licences text "CC BY 4.0"; default: what the installed packages say.
        words: what `opengato words --json` printed of it, for the card.
        push: hub:OWNER/NAME, a repository of the Hugging Face Hub to upload it to; needs the extra `hub` and a token ($HF_TOKEN).
        public: a repository that is made is for everybody.
        bits: of a weight: 16, bfloat16, or 8, a scale for each row of a matrix; evaluate what is written.
    """
    import json

    from opengato.checkpoint import Checkpoint
    from opengato.release import write

    found, said = (json.loads(path.read_text()) if path is not None else None for path in (scores, words))
    write(out, Checkpoint.load(checkpoint), about, trained_with, found, licences, said, bits)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB")
    if push is not None:
        from opengato.hub import push_to_hub

        print(push_to_hub(out, push, private=not public))
