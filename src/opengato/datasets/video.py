"""Frames of video files as leaves of episodes: decoded when they are taken, a file in one pass where it is read in order."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

_OPEN = 8  # files that are kept open, each where it was read last
_AHEAD_S = 10.0  # what lies farther ahead is sought instead of decoded on to
_open: OrderedDict[tuple[Path, int, int], _Decoder] = OrderedDict()


def import_av() -> Any:
    """PyAV. Raises OpenGatoError where it is not installed."""
    try:
        import av
    except ImportError:
        raise OpenGatoError('videos need the package av: pip install "opengato[lerobot]"') from None
    return av


@dataclass(frozen=True)
class Clip:
    """T frames of a video as the leaf of an episode, uint8 (T, H, W, 3); a slice of it is a clip too.

    Attributes:
        path: the video. times: float64 (T,), seconds into it, ascending. frame_s: seconds a frame. size: (H, W).

    Taken as an array it raises OpenGatoError where the video is damaged, of another size, or has no frame at one of the times.
    """

    path: Path
    times: np.ndarray
    frame_s: float
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.times), *self.size, 3)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, timesteps: slice) -> Clip:
        return Clip(self.path, self.times[timesteps], self.frame_s, self.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = np.empty(self.shape, np.uint8)
        decoder = _decoder(self.path)
        try:
            for t, frame in enumerate(decoder.frames(self.times, self.frame_s / 4)):
                if frame.shape[:2] != self.size:
                    raise OpenGatoError(
                        f"{self.path} has frames of {frame.shape[:2]} where {self.size} is announced: the file is another one"
                    )
                out[t] = frame
        except OpenGatoError:
            decoder.rewind()
            raise
        return out


def _decoder(path: Path) -> _Decoder:
    """An open file, where it was read last; one that has changed, or that another process opened before a fork, is opened anew."""
    try:
        key = path, path.stat().st_mtime_ns, os.getpid()
    except OSError as error:
        raise OpenGatoError(f"{path} cannot be read: {error}: fetch it again") from None
    decoder = _open.pop(key, None) or _Decoder(path)
    _open[key] = decoder
    if len(_open) > _OPEN:
        _open.popitem(last=False)
    return decoder


class _Decoder:
    """The frames of one file, in order from wherever it stands."""

    def __init__(self, path: Path):
        self._path, self._av = path, import_av()
        try:
            self._container = self._av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (self._av.FFmpegError, IndexError) as error:
            raise OpenGatoError(f"{path} is no video that can be read, or is cut short: {error}: fetch it again") from None
        self._decoded: Iterator[Any] = self._container.decode(self._stream)
        self._last: Any = None  # the frame that was taken last

    def frames(self, times: Iterable[float], tolerance: float) -> Iterator[np.ndarray]:
        """The frames shown at these ascending times, uint8 (H, W, 3) each."""
        for time in times:
            if self._last is not None and not self._last.time - tolerance <= time <= self._last.time + _AHEAD_S:
                self._seek(time)
            yield self._at(float(time), tolerance).to_ndarray(format="rgb24")

    def _at(self, time: float, tolerance: float) -> Any:
        while self._last is None or self._last.time < time - tolerance:
            self._last = self._read(time)
        if abs(self._last.time - time) > tolerance:
            raise OpenGatoError(
                f"{self._path} has no frame at {time:.4f} s, the nearest is at {self._last.time:.4f} s: rows and frames disagree"
            )
        return self._last

    def _read(self, time: float) -> Any:
        try:
            frame = next(self._decoded, None)
        except self._av.FFmpegError as error:
            raise OpenGatoError(f"{self._path} cannot be decoded on towards {time:.4f} s: {error}: fetch it again") from None
        if frame is None:
            ended = "has no frames" if self._last is None else f"ends after the frame at {self._last.time:.4f} s"
            raise OpenGatoError(f"{self._path} {ended}, and rows ask for one at {time:.4f} s: it is cut short, or of other rows")
        return frame

    def _seek(self, time: float) -> None:
        try:
            self._container.seek(max(int(time / self._stream.time_base), 0), stream=self._stream)
        except self._av.FFmpegError as error:
            raise OpenGatoError(f"{self._path} has nothing at {time:.4f} s: {error}: it is cut short, or of other rows") from None
        self._decoded, self._last = self._container.decode(self._stream), None

    def rewind(self) -> None:
        """Forget where it stands, as after an error."""
        self._last = None
        with suppress(self._av.FFmpegError, OpenGatoError):
            self._seek(0.0)


class VideoWriter:
    """Writes uint8 (H, W, 3) frames as H.264 in an MP4 file, nearly without loss (CRF 12).

    A key frame stands at every tenth frame, so that any frame is found by decoding few others.

    Args:
        path: the file. rate: frames a second. size: (H, W); raises OpenGatoError for odd ones.

    Attributes:
        frames: written so far.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]):
        self._av, self.frames = import_av(), 0
        (height, width), exact = size, Fraction(rate).limit_denominator(10_000)
        if height % 2 or width % 2:
            raise OpenGatoError(f"frames of {height}×{width} cannot be a video, whose sides are even: write images instead of videos")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container, self._frame_s = self._av.open(str(path), "w"), 1 / exact
        self._stream = self._container.add_stream("libx264", rate=exact, options={"crf": "12", "g": "10"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"

    def add(self, frame: np.ndarray) -> None:
        """The next frame."""
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = self.frames, self._frame_s
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode())
        self._container.close()
