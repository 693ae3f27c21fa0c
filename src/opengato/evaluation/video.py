"""Frames to MP4 or GIF, and many episodes beside one another."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opengato.errors import OpenGatoError
from opengato.evaluation.rollout import Rollout

MOST_TOGETHER = 100  # frames of episodes beside one another


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


def encode_gif(frames: Sequence[np.ndarray], fps: float) -> bytes:
    """uint8 (H, W, 3) frames to a GIF that repeats, all in the 128 colours of its first, middle and last."""
    from PIL import Image

    if not len(frames):
        raise OpenGatoError("there are no frames to make a picture of")
    palette = Image.fromarray(np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])).quantize(128)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, optimize=True)
    return file.getvalue()


def beside(episodes: Sequence[Rollout], tile: int) -> list[np.ndarray]:
    """Frames, uint8 (rows · tile, columns · tile, 3), of recorded episodes beside one another, in step; what is over stands still."""
    from PIL import Image

    columns = math.ceil(math.sqrt(2 * len(episodes)))
    rows = math.ceil(len(episodes) / columns)
    small = [[np.asarray(Image.fromarray(frame).resize((tile, tile))) for frame in episode.frames] for episode in episodes]
    last = max((len(frames) - 1) * episode.stride for frames, episode in zip(small, episodes))
    found = []
    for step in np.unique(np.linspace(0, last, min(MOST_TOGETHER, last + 1)).astype(int)).tolist():
        whole = np.full((rows, tile, columns, tile, 3), 255, np.uint8)
        for number, (frames, episode) in enumerate(zip(small, episodes)):
            if frames:
                whole[number // columns, :, number % columns] = frames[min(step // episode.stride, len(frames) - 1)]
        found.append(whole.reshape(rows * tile, columns * tile, 3))
    return found
