"""DM Control Suite Random Large: bodies drawn anew for every episode, 20 to 40% off in each of their parts, planned for as they are."""

from __future__ import annotations

from functools import partial

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.drawn import DRAWN, LARGE, Drawn, start
from opengato.domains.dm_control.listing import listed

TASKS = [listed("dm-control-random-large", key, partial(Drawn, spread=LARGE), stated.observation_space(*key), start) for key in DRAWN]
