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


# For `opengato demo` with its default of 15 minutes; longer runs collect, and evaluate, proportionally more.
DEMO_TASKS = (
    DemoTask("babyai/go-to-red-ball-grey", 1200, 0.0, 20),
    DemoTask("babyai/go-to-red-ball", 1500, 0.0, 25),
    DemoTask("babyai/go-to-obj", 1000, 0.0, 15),
    DemoTask("babyai/go-to-local", 3000, 0.0, 40),
    DemoTask("babyai/open-red-door", 300, 0.0, 10),
    DemoTask("babyai/pickup-loc", 3500, 0.0, 50),
    DemoTask("metaworld/reach", 50, 0.15, 15),
    DemoTask("metaworld/drawer-close", 50, 0.15, 15),
    DemoTask("metaworld/drawer-open", 50, 0.15, 15),
    DemoTask("metaworld/window-open", 50, 0.15, 15),
    DemoTask("metaworld/window-close", 50, 0.15, 15),
    DemoTask("metaworld/door-close", 50, 0.15, 15),
    DemoTask("metaworld/button-press-topdown", 50, 0.15, 15),
    DemoTask("metaworld/faucet-open", 50, 0.15, 15),
    DemoTask("metaworld/handle-press", 50, 0.15, 15),
    DemoTask("metaworld/plate-slide", 50, 0.15, 15),
    DemoTask("dm-control/cartpole-balance", 30, 0.2, 20),
    DemoTask("dm-control/reacher-easy", 200, 0.2, 55),
    DemoTask("dm-control/point-mass-easy", 40, 0.2, 20),
    DemoTask("atari/freeway", 3, 0.0, 80),
)

# What is hard to learn has more of its domain's share.
DEMO_WEIGHTS = {
    "babyai": 0.28,
    "babyai/open-red-door": 0.5,
    "babyai/go-to-local": 1.5,
    "babyai/pickup-loc": 2.5,
    "metaworld": 0.18,
    "dm-control": 0.34,
    "dm-control/reacher-easy": 8.0,
    "atari": 0.13,
    "captions": 0.03,
    "questions": 0.02,
    "text": 0.02,
    "dialogue": 0.02,
}
DEMO_DATA = ("text/plain", "dialogue/chitchat", "captions/emoji", "questions/emoji")
DEMO_MODEL = "swift-nano"  # recipe
DEMO_EVALUATION_EPISODES = 10
