"""The command that moves a robot: robot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from opengato.cli.app import Precision, command, print_json

_ALIKE = 0.05  # 29.97 and 30 are one rate


@command
def robot(
    agent: Positional[str],
    task: Positional[str],
    rate: float | None = None,
    seconds: float = 30.0,
    late: Literal["hold", "interpolate"] = "hold",
    patience: float = 1.0,
    oldest: float = 2.0,
    record: Path | None = None,
    token_file: Path | None = None,
    temperature: float | None = None,
    seed: int = 100_000,
    precision: Precision = "float32",
    compiled: bool = False,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Let an agent move a simulated robot in real time, and print how well the rate was held; Ctrl-C ends it.

    Args:
        agent: a checkpoint folder, or the address of a server, ws://HOST:PORT.
        task: the task's id, such as metaworld/reach.
        rate: control ticks a second; one is one step of the simulator. Default: that of the demonstrations, where they said it, else 20.
        seconds: in all, over as many episodes as fit.
        late: while the agent's action is late, repeat the last one, or glide to the newest.
        patience: seconds without a new action after which the robot is stopped.
        oldest: periods that may have passed since the observation that the first command answers; a slower agent needs more.
        record: folder of Minari datasets to which the episodes are added.
        token_file: a file with the server's token.
        temperature: of a checkpoint's actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        seed: of the first episode; the others follow.
        precision: of a checkpoint's weights; bfloat16 and int8 are quicker on a CPU.
        compiled: run a checkpoint through torch.compile, which needs a C++ compiler, and half a minute before the robot moves.
        as_json: print an object instead of tables.
    """
    from contextlib import ExitStack

    from opengato.console import notice
    from opengato.domains import get_task
    from opengato.errors import OpenGatoError
    from opengato.robots import Recorder, Report, Simulated, Stopped
    from opengato.robots.simulated import episodes

    get_task(task)  # an unknown one is told before anything is loaded
    if rate is not None and not 0 < rate < float("inf"):
        raise OpenGatoError(f"rate is {rate:g}: give control ticks a second, a number above 0")
    reports: list[Report] = []
    with ExitStack() as stack:
        actor: Any
        if agent.startswith(("ws://", "wss://")):
            from opengato.client import Client

            if token_file is not None and not token_file.is_file():
                raise OpenGatoError(f"token file {token_file} does not exist: give the one that the server was started with")
            actor = stack.enter_context(Client(agent, token_file.read_text().strip() if token_file else None))
            demonstrated = actor.metadata.get("rates", {}).get(task)
        else:
            from opengato.policy.policy import Policy

            actor = Policy.from_pretrained(agent, precision=precision, compiled=compiled, temperature=temperature)
            demonstrated = actor.checkpoint.rate(task)
        if rate and demonstrated and abs(rate / demonstrated - 1) > _ALIKE:
            notice(
                f"rate is {rate:g}, and {task} was demonstrated at {demonstrated:g} timesteps a second: what was learned moves otherwise"
            )
        body = stack.enter_context(Simulated.of_task(task, rate if rate is not None else demonstrated or 20.0, seed))
        recorder = Recorder(record) if record else None
        try:
            for report in episodes(body, actor, task, seconds, late=late, patience=patience, oldest=oldest, record=recorder):
                reports.append(report)
        except Stopped as error:
            reports.append(error.report)
            raise
        finally:
            written = recorder.write(" ".join(["opengato", *sys.argv[1:]])) if recorder else None
            if reports:
                timing = sum((r.timing for r in reports[1:]), reports[0].timing)
                rows = [{"ended": r.ended, "ticks": r.timing.ticks, "return": r.episode_return, "success": r.success} for r in reports]
                if as_json:
                    print_json(timing.summary() | {"episodes": rows, "recorded": str(written) if written else None})
                else:
                    for r in reports:
                        print(f"{r.timing.ticks} ticks, {r.ended}: return {r.episode_return:.4g}, success {r.success}")
                    print(timing)
                    if written:
                        print(f"recorded: {written}")
