"""The RGB objects: which there are, their colours and triplets, and the meshes of the `dm-robotics-manipulation` wheel.

All are a cube of 5 cm with something done to it, told by their names: a letter for how much and digits for what (2: more sides, 3: tapered,
5: sheared, 6 to 8: stretched; two digits: both). All are convex, and their frames' origins are the middles of their bounding boxes.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from opengato.errors import OpenGatoError

COLOURS = ("red", "green", "blue")
Triplet = tuple[str, str, str]  # names of the red, green and blue object

# "Beyond Pick-and-Place" (Lee, Devin, Zhou et al., 2021), as Gato's section 4.2 has them.
TEST_TRIPLETS: tuple[Triplet, ...] = (
    ("r3", "s0", "b2"),
    ("r5", "g2", "b3"),
    ("r6", "g3", "b5"),
    ("s0", "g5", "b6"),
    ("r2", "g6", "s0"),
)
INSTALL = 'pip install "opengato[stacking]" && pip install --no-deps dm-robotics-moma==0.10.0 dm-robotics-manipulation==0.10.0'


@cache
def wheel(part: str) -> Path:
    """The folder of "moma" or "manipulation", of which no code is imported. Raises OpenGatoError where it is not installed."""
    name = f"dm_robotics.{part}"
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise OpenGatoError(f"package dm-robotics-{part}, which has the robot's and the objects' meshes, is not installed: {INSTALL}")
    return Path(next(iter(found.submodule_search_locations)))


@cache
def mesh_files() -> dict[str, Path]:
    """The .stl file of every object, by its name, in the order of names."""
    folder = wheel("manipulation") / "props/rgb_objects/assets/rgb_v1.3/meshes"
    return {path.name.split("_")[0]: path for path in sorted(folder.glob("*/*.stl"), key=lambda path: path.name)}


@cache
def training_objects() -> tuple[str, ...]:
    """Those with two deformations: no test triplet has any of them, nor one that differs from theirs in its degree only (section 4.2)."""
    return tuple(name for name, path in mesh_files().items() if path.parent.name == "train")


def facets(path: Path) -> np.ndarray:
    """The triangles of a binary .stl file, (n, 3, 3)."""
    return np.frombuffer(path.read_bytes(), np.dtype([("facet", "<f4", (4, 3)), ("unused", "<u2")]), offset=84)["facet"][:, 1:]


@cache
def corners(name: str) -> np.ndarray:
    """The corners of an object, (n, 3) metres, in its own frame."""
    return np.unique(facets(mesh_files()[name]).reshape(-1, 3).round(6), axis=0).astype(np.float64)


def drawn_triplet(random: np.random.Generator) -> Triplet:
    """Three training objects, one for each colour."""
    red, green, blue = random.choice(training_objects(), 3)
    return str(red), str(green), str(blue)
