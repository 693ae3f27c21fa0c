"""Agents in real time: a body that is observed and moved at a fixed rate, simulated or real (docs/robots.md). It imports no torch."""

from __future__ import annotations

from opengato.robots.control import Report, Stopped, run
from opengato.robots.limits import Limits
from opengato.robots.record import Recorder
from opengato.robots.robot import Robot, Scored, Stamped
from opengato.robots.simulated import Simulated
from opengato.robots.takeover import Agent, Takeover

__all__ = ["Agent", "Limits", "Recorder", "Report", "Robot", "Scored", "Simulated", "Stamped", "Stopped", "Takeover", "run"]
