"""HDF5 files that are open, and arrays in them as leaves of episodes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

_FILES = 4  # that are kept open
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Whether a path is an HDF5 file."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


_open: dict[Path, tuple[tuple[int, int], Any]] = {}  # of each file when it had changed and which process opened it, and the open file


def open_hdf5(path: Path) -> Any:
    """An open file, `h5py.File`. Raises OpenGatoError where there is none, it is none, or is cut short."""
    try:
        import h5py
    except ImportError:
        raise OpenGatoError('HDF5 files need the package h5py: pip install "opengato[hdf5]"') from None
    try:
        state = path.stat().st_mtime_ns, os.getpid()
        if path in _open and _open[path][0] != state:
            _, old = _open.pop(path)
            old.close()  # else the library gives what it had in memory
        if path not in _open:
            while len(_open) >= _FILES:
                _open.pop(next(iter(_open)))[1].close()
            _open[path] = state, h5py.File(path, "r")
        return _open[path][1]
    except OSError as error:
        raise OpenGatoError(f"{path} is no HDF5 file that can be read, or is cut short: {error}: fetch it again") from None


def read(path: Path, key: str, rows: slice) -> np.ndarray:
    """Rows of an array in a file. Raises OpenGatoError where it is damaged."""
    try:
        return np.asarray(open_hdf5(path)[key][rows])
    except (OSError, RuntimeError) as error:
        raise OpenGatoError(f"{key} of {path} cannot be read: {error}: fetch the file again") from None


@dataclass(frozen=True)
class Stored:
    """Rows of an array in a file as the leaf of an episode, (T, *size); read when it is taken. A slice forward is one too."""

    path: Path
    key: str
    rows: range
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.size)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, timesteps: slice) -> Stored:
        return Stored(self.path, self.key, self.rows[timesteps], self.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return read(self.path, self.key, slice(self.rows.start, self.rows.stop, self.rows.step))
