"""The generalist's tasks, chosen before it was trained.

They are a third or more of each domain that is seen without pictures and whose experts are quick enough for two cores; of DM Control's,
whose planners are not, those that have a controller.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Tasks of one domain whose demonstrations are made alike.

    Attributes:
        tasks: names within the domain.
        episodes: of each task, at most; the budget may buy fewer.
        seconds: what an expert's episode costs of one core, as measured; kilobytes: what it takes on disk.
        noise: share of random actions while recording (the expert's advice is what is learned).
        share: of the seconds that a task of another part gets for its demonstrations.
    """

    domain: str
    tasks: tuple[str, ...]
    episodes: int
    seconds: float
    kilobytes: float = 32.0
    noise: float = 0.0
    share: float = 1.0

    @property
    def ids(self) -> list[str]:
        """The tasks' ids."""
        return [f"{self.domain}/{task}" for task in self.tasks]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _goals(*rooms: str) -> tuple[str, ...]:
    return tuple(f"{room}-task{goal}" for room in rooms for goal in range(1, 6))


# 46, as many as the paper has: every kind of instruction, in its full size and mostly in a smaller one; of GoToLocal's sizes five.
_BABYAI = _names(
    "go-to-red-ball-grey go-to-red-ball go-to-red-ball-no-dists go-to-obj go-to-obj-s6 go-to-local go-to-local-s5n2 "
    "go-to-local-s6n3 go-to-local-s8n4 go-to-local-s8n7 go-to go-to-open go-to-obj-maze go-to-obj-maze-s4 go-to-obj-maze-s7 "
    "go-to-imp-unlock go-to-seq go-to-red-blue-ball go-to-door go-to-obj-door open open-red-door open-door open-door-color "
    "open-door-loc open-two-doors open-red-blue-doors open-doors-order-n2 open-doors-order-n4 pickup unblock-pickup "
    "pickup-loc pickup-dist pickup-above put-next-local put-next-s4n1 unlock unlock-local unlock-pickup key-corridor-s3r1 "
    "one-room-s8 find-obj-s5 action-obj-door synth mini-boss-level boss-level"
)
# All fifty but `assembly`, which is held out.
_METAWORLD = _names(
    "basketball bin-picking box-close button-press button-press-topdown button-press-topdown-wall button-press-wall "
    "coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open door-unlock drawer-close "
    "drawer-open faucet-close faucet-open hammer hand-insert handle-press handle-press-side handle-pull handle-pull-side "
    "lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-wall plate-slide plate-slide-back "
    "plate-slide-back-side plate-slide-side push push-back push-wall reach reach-wall shelf-place soccer stick-pull "
    "stick-push sweep sweep-into window-close window-open"
)
# Every second one of MiniGrid's own.
_MINIGRID = _names(
    "empty-5x5 empty-8x8 four-rooms dist-shift-2 lava-gap-s6 lava-crossing-s9n1 lava-crossing-s9n3 simple-crossing-s9n1 "
    "simple-crossing-s9n3 multi-room-n2-s4 multi-room-n6-s5 door-key-5x5 door-key-8x8 locked-room dynamic-obstacles-5x5 "
    "dynamic-obstacles-8x8 fetch-5x5-n2 fetch-8x8-n3 go-to-door-6x6 go-to-object-6x6-n2 put-near-6x6-n2 put-near-8x8-n3 "
    "red-blue-doors-6x6 unlock memory-s7 memory-s11 memory-s13-random obstructed-maze-1dl obstructed-maze-1dlh "
    "obstructed-maze-2dl"
)
# Games against the random player; against the stronger ones their experts themselves lose often.
_OPENSPIEL = _names(
    "tic-tac-toe-random connect-four-random breakthrough-random pentago-random hex-random y-random havannah-random "
    "clobber-random nim-random oware-random go-5x5-random ultimate-tic-tac-toe-random dots-and-boxes-random "
    "four-in-a-row-random nine-mens-morris-random pig-random einstein-wurfelt-nicht-random catch kuhn-poker-random "
    "leduc-poker-random"
)
# Those with a feedback controller; a planner's episode takes up to minutes. `cartpole-swingup` is held out.
_CONTROLLED = _names(
    "cartpole-balance cartpole-balance-sparse cartpole-swingup-sparse pendulum-swingup point-mass-easy point-mass-hard "
    "reacher-easy reacher-hard"
)
_DRAWN = tuple(task for task in _CONTROLLED if task != "point-mass-hard")

PARTS = (
    Part("babyai", _BABYAI, 6000, 0.05, share=1.6),
    Part("metaworld", _METAWORLD, 300, 0.4, 81.0, noise=0.15),
    Part("minigrid", _MINIGRID, 5000, 0.015),
    Part("openspiel", _OPENSPIEL, 3000, 0.1),
    Part("dm-control", _CONTROLLED, 100, 0.2, 44.0, noise=0.2),
    Part("dm-control-random-small", _DRAWN, 100, 0.2, 44.0, noise=0.2),
    Part("dm-control-random-large", _DRAWN, 100, 0.2, 44.0, noise=0.2),
    Part(
        "ogbench",
        _goals("cube-single", "cube-double", "scene", "puzzle-3x3", "pointmaze-medium", "pointmaze-large", "pointmaze-giant"),
        400,
        0.3,
        noise=0.1,
    ),
    Part(
        "gymnasium-robotics",
        _names(
            "fetch-reach fetch-push fetch-pick-and-place point-maze-umaze point-maze-open point-maze-medium point-maze-large "
            "kitchen-microwave kitchen-kettle kitchen-slide-cabinet kitchen-hinge-cabinet"
        ),
        300,
        0.2,
        noise=0.1,
    ),
    Part("textworld", _names("treasure-guided treasure-easy coin-5 cooking-take"), 2000, 0.35),
    Part("sokoban", _names("boxes-1-7x7 boxes-2-7x7 boxes-2-8x8 boxes-3-8x8"), 10_000, 0.02),
    Part("memory", _names("t-maze-short t-maze"), 5000, 0.005),
)
TASKS = tuple(task for part in PARTS for task in part.ids)
