"""The demo's mixture: what is collected, how much of it, and how the domains weigh."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DemoTask:
    """One control task of the demo: episodes to collect, the share of random actions, and seconds of one core they may take."""

    task: str
    episodes: int
    noise: float
    seconds: float


# For `opengato demo` with its default of 15 minutes; longer runs collect proportionally more.
DEMO_TASKS = (
    DemoTask("babyai/go-to-red-ball-grey", 700, 0.0, 20),
    DemoTask("babyai/go-to-red-ball", 900, 0.0, 20),
    DemoTask("babyai/go-to-obj", 700, 0.0, 20),
    DemoTask("babyai/go-to-local", 2000, 0.0, 40),
    DemoTask("babyai/open-red-door", 300, 0.0, 20),
    DemoTask("babyai/pickup-loc", 2000, 0.0, 40),
    DemoTask("metaworld/reach", 50, 0.15, 15),
    DemoTask("metaworld/drawer-close", 50, 0.15, 15),
    DemoTask("metaworld/drawer-open", 50, 0.15, 15),
    DemoTask("metaworld/window-open", 50, 0.15, 15),
    DemoTask("metaworld/window-close", 50, 0.15, 15),
    DemoTask("metaworld/door-close", 50, 0.15, 15),
    DemoTask("metaworld/button-press-topdown", 50, 0.15, 15),
    DemoTask("metaworld/faucet-open", 50, 0.15, 15),
    DemoTask("metaworld/faucet-close", 50, 0.15, 15),
    DemoTask("metaworld/plate-slide", 50, 0.15, 15),
    DemoTask("dm-control/cartpole-balance", 12, 0.1, 50),
    DemoTask("dm-control/reacher-easy", 25, 0.1, 40),
    DemoTask("dm-control/point-mass-easy", 14, 0.1, 30),
    DemoTask("atari/pong", 3, 0.0, 70),
)

DEMO_WEIGHTS = {"babyai": 0.2, "metaworld": 0.42, "dm-control": 0.22, "atari": 0.1, "captions": 0.035, "text": 0.025}
DEMO_DATA = ("text/plain", "captions/emoji")
DEMO_MODEL = "swift-nano"
DEMO_EVALUATION_EPISODES = 10
