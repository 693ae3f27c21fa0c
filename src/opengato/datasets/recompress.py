"""Recordings in HDF5 made smaller without loss: as Minari writes them they are not compressed at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opengato.atomic import replacing

_LEAST = 4_096  # bytes of an array that it is worth while for
# Bytes of an episode below which a file is left as it is: HDF5's own structures are a third of those, and copying them half of all work.
_SMALL_EPISODE = 2**16
_CHUNK = 2**18  # bytes that are compressed together: a picture is much like the one before


def recompress(path: Path) -> None:
    """Compress the arrays of whole numbers in a file: pictures, grids, symbols. Floats, in which there is little to gain, stay as they are.

    Any reader of HDF5 reads them as before. What is compressed already is copied as it is. The file is replaced atomically; one of
    small episodes stays as it is.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if path.stat().st_size < _SMALL_EPISODE * len(file):
            return
    with replacing(path) as partial, h5py.File(path, "r") as old, h5py.File(partial, "w", track_order=True) as new:
        _copy(old, new)


def _copy(old: Any, new: Any) -> None:
    import h5py

    new.attrs.update(old.attrs)
    for name, part in old.items():
        if isinstance(part, h5py.Group):
            _copy(part, new.create_group(name, track_order=True))
        elif part.compression is not None or part.dtype.kind not in "iub" or part.nbytes < _LEAST:
            old.copy(name, new)
        else:
            rows = max(1, min(part.shape[0], _CHUNK // max(1, part.nbytes // part.shape[0])))
            made = new.create_dataset(
                name,
                data=part[()],
                chunks=(rows, *part.shape[1:]),
                maxshape=(None, *part.shape[1:]),
                compression="gzip",
                compression_opts=1,
                shuffle=part.dtype.itemsize > 1,
            )
            made.attrs.update(part.attrs)
