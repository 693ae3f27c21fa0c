"""Frames to MP4."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opengato.errors import OpenGatoError


def encode_mp4(frames: Sequence[np.ndarray], fps: float) -> bytes:
    """uint8 (H, W, 3) frames to H.264 in an MP4; odd sizes are padded by a pixel. Raises OpenGatoError without frames or imageio-ffmpeg."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise OpenGatoError('videos need the package imageio-ffmpeg: pip install "opengato[video]"') from None
    if not len(frames):
        raise OpenGatoError("there are no frames to make a video of")
    height, width = frames[0].shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width + width % 2, height + height % 2),
            fps=fps,
            codec="libx264",
            quality=5,
            macro_block_size=2,
            output_params=["-movflags", "+faststart"],
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(np.pad(frame, pad, mode="edge")))
        writer.close()
        return path.read_bytes()
