"""BabyAI in pixels: the levels of `babyai`, the 7×7 view drawn at 16 pixels a cell, so that a patch of the network is a cell.

An observation is the mission's text, the agent's direction and the picture, 112×112; all else is as in `babyai`.
"""

from __future__ import annotations

from opengato.domains.babyai import LEVELS, level_task
from opengato.domains.grid_view import PIXEL_SPACE, PixelView

TASKS = [level_task("babyai-pixels", name, PixelView, PIXEL_SPACE) for name in LEVELS]
