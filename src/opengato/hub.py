"""Checkpoints of the Hugging Face Hub, for those who ask for it: `hub:OWNER/NAME` stands wherever a checkpoint folder may.

Nothing else in this package speaks with the Hub. Only the files of a checkpoint and its card travel, in either direction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opengato.errors import OpenGatoError

HUB = "hub:"  # begins the name of a checkpoint that lies there
CARD = "README.md"
# Of a checkpoint; a folder that has the first is one.
FILES = ("config.json", "model.safetensors", "tokenizer.model", "prompts.safetensors", "starts.safetensors")


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise OpenGatoError('the Hub needs huggingface_hub, which is not installed: pip install "opengato[hub]"') from None
    return huggingface_hub


def _repository(name: str | Path) -> tuple[str, str | None]:
    """hub:OWNER/NAME or hub:OWNER/NAME@REVISION in its parts."""
    repository, _, revision = str(name).removeprefix(HUB).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise OpenGatoError(f"{name} is no name on the Hub: write {HUB}OWNER/NAME, and @REVISION for one that is not the newest")
    return repository, revision or None


def download(name: str | Path) -> Path:
    """The folder of a checkpoint of the Hub, from the Hub's own cache where it is there in the same revision.

    Raises OpenGatoError where huggingface_hub is not installed, or the Hub does not give it.
    """
    repository, revision = _repository(name)
    hub = _library()
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=[*FILES, CARD]))
    except Exception as error:  # of the network, of the library, of the Hub's own refusals
        raise OpenGatoError(f"{name} cannot be had from the Hub ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None


def push_to_hub(folder: Path, name: str, private: bool = True) -> str:
    """Upload a checkpoint folder as a repository, which is made where there is none; returns its address.

    Args:
        folder: of a checkpoint, as `opengato release` writes it. name: hub:OWNER/NAME. private: of a repository that is made.

    Raises:
        OpenGatoError: where the folder is no checkpoint, huggingface_hub is not installed, or the Hub refuses.
    """
    repository, revision = _repository(name)
    if not (folder / FILES[0]).is_file():
        raise OpenGatoError(f"{folder} is no checkpoint: it has no {FILES[0]}")
    hub = _library()
    try:
        api = hub.HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, revision=revision, allow_patterns=[*FILES, CARD])
    except Exception as error:
        raise OpenGatoError(
            f"the Hub did not take {name} ({type(error).__name__}: {' '.join(str(error).split())[:200]}): is a token set ($HF_TOKEN)?"
        ) from None
    return str(address)
