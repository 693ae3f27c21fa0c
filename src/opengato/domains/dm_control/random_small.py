"""DM Control Suite Random Small: bodies drawn anew for every episode, 5 to 10% off in each of their parts, planned for as they are."""

from __future__ import annotations

from functools import partial

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.drawn import DRAWN, SMALL, Drawn, start
from opengato.domains.dm_control.listing import listed

TASKS = [listed("dm-control-random-small", key, partial(Drawn, spread=SMALL), stated.observation_space(*key), start) for key in DRAWN]
