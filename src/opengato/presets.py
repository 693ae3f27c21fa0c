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
    DemoTask("babyai/go-to-red-ball-grey", 300, 0.0, 20),
    DemoTask("babyai/go-to-red-ball", 400, 0.0, 20),
    DemoTask("babyai/go-to-obj", 400, 0.0, 20),
    DemoTask("babyai/go-to-local", 600, 0.0, 30),
    DemoTask("babyai/open-red-door", 200, 0.0, 20),
    DemoTask("babyai/pickup-loc", 600, 0.0, 30),
    DemoTask("metaworld/reach", 50, 0.2, 20),
    DemoTask("metaworld/drawer-close", 40, 0.2, 20),
    DemoTask("metaworld/drawer-open", 50, 0.2, 20),
    DemoTask("metaworld/window-open", 50, 0.2, 20),
    DemoTask("metaworld/window-close", 50, 0.2, 20),
    DemoTask("metaworld/door-close", 40, 0.2, 20),
    DemoTask("metaworld/button-press-topdown", 50, 0.2, 20),
    DemoTask("metaworld/faucet-open", 50, 0.2, 20),
    DemoTask("metaworld/plate-slide", 50, 0.2, 20),
    DemoTask("dm-control/cartpole-balance", 12, 0.1, 60),
    DemoTask("dm-control/reacher-easy", 30, 0.1, 60),
    DemoTask("dm-control/point-mass-easy", 16, 0.1, 40),
    DemoTask("atari/pong", 4, 0.1, 120),
)

DEMO_WEIGHTS = {"babyai": 0.16, "metaworld": 0.44, "dm-control": 0.22, "atari": 0.12, "captions": 0.035, "text": 0.025}
DEMO_DATA = ("text/plain", "captions/emoji")
DEMO_MODEL = "swift-nano"
DEMO_EVALUATION_EPISODES = 10
