"""A convex object where it lies: its extents along lines, its upper face, and how far it is from others, seen from above."""

from __future__ import annotations

from functools import cache

import numpy as np

from opengato.domains.rgb_stacking.objects import facets, mesh_files

_AROUND = np.linspace(0, np.pi, 24, endpoint=False)
_DIRECTIONS = np.stack([np.cos(_AROUND), np.sin(_AROUND)], 1)


@cache
def _planes(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of an object in its own frame: its facets (n, 3, 3), and its faces' outward normals (k, 3) and distances (k,) from the origin."""
    triangles = facets(mesh_files()[name]).astype(np.float64)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = np.einsum("ni,ni->n", normals, triangles[:, 0])
    outward = np.sign(offsets)[:, None]  # the origin is inside
    faces = np.concatenate([normals * outward, np.abs(offsets)[:, None]], 1)
    _, one = np.unique(np.round(faces, 4), axis=0, return_index=True)
    return triangles, faces[one, :3], faces[one, 3]


class Shape:
    """An object at `position` (3,) with `axes` (3, 3), in metres in the world; `centre` (3,): of its mass."""

    def __init__(self, name: str, position: np.ndarray, axes: np.ndarray, centre: np.ndarray):
        triangles, normals, offsets = _planes(name)
        self.triangles = triangles @ axes.T + position
        self.normals = normals @ axes.T
        self.offsets = offsets + self.normals @ position
        self.corners = self.triangles.reshape(-1, 3)
        self.position, self.axes, self.centre = np.array(position), np.array(axes), np.array(centre)
        self.bottom, self.top = float(self.corners[:, 2].min()), float(self.corners[:, 2].max())

    def chord(self, points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between which t the lines points (n, 3) + t · along (3,) are inside: (n,) and (n,); the first is not below the second outside."""
        slope, room = self.normals @ along, self.offsets - points @ self.normals.T
        with np.errstate(divide="ignore", invalid="ignore"):
            at = room / slope
        parallel = np.abs(slope) < 1e-9
        last = np.where(slope > 1e-9, at, np.inf).min(1)
        first = np.where(slope < -1e-9, at, -np.inf).max(1)
        outside = (room[:, parallel] < 0).any(1)
        return np.where(outside, np.inf, first), np.where(outside, -np.inf, last)

    def seat(self) -> np.ndarray:
        """The middle of what it has for a face on top, (3,); its highest corner where none is less than 40 degrees steep."""
        sides = np.cross(self.triangles[:, 1] - self.triangles[:, 0], self.triangles[:, 2] - self.triangles[:, 0])
        outward = np.sign(np.einsum("ni,ni->n", sides, self.triangles[:, 0] - self.centre))
        areas = np.linalg.norm(sides, axis=1)
        up = sides[:, 2] * outward / areas
        if up.max() < 0.766:
            return self.corners[self.corners[:, 2].argmax()]
        face = up > up.max() - 0.01
        return np.average(self.triangles[face].mean(1), axis=0, weights=areas[face])

    def apart(self, outline: np.ndarray, above: float) -> float:
        """How far it is from a convex outline (n, 2) seen from above, metres, below 0 in it; inf if it is all lower than `above`."""
        if self.top <= above:
            return np.inf
        mine, other = self.corners[:, :2] @ _DIRECTIONS.T, outline @ _DIRECTIONS.T
        gaps = np.maximum(mine.min(0) - other.max(0), other.min(0) - mine.max(0))
        return float(gaps.max())
