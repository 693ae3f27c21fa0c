"""DM Control Suite from state, solved by planning (iCEM) on the simulator itself."""

from __future__ import annotations

from opengato.domains.dm_control import stated
from opengato.domains.dm_control.environment import Suite
from opengato.domains.dm_control.listing import listed

TASKS = [listed("dm-control", key, Suite, stated.observation_space(*key)) for key in stated.TASKS]
