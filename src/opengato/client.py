"""A light client of `opengato serve`: no torch, no gymnasium.

with Client("ws://127.0.0.1:8000") as agent:
    agent.reset("babyai/go-to-local")
    action = agent.act(observation)
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    from opengato.serving import wire
except ImportError as error:
    raise OpenGatoError(f"the client needs a package that is not installed ({error.name}): pip install 'opengato[client]'") from None


# Entries of a message of the server, which the caller chose: the spaces of hundreds of tasks are more than a client may send.
_TRUSTED = 2**24


class Client:
    """One session with a server: one agent in one environment, as a `Policy` is.

    Args:
        url: "ws://host:port" or "wss://…". token: the server's, if it has one.
        timeout: seconds to wait for a connection and for each answer; None: for ever.

    Attributes:
        metadata: what the server says of itself: "tasks" with their spaces, "rates" of those whose demonstrations said theirs, in timesteps
            a second, "default_task", "limits".
        timing: "infer_ms" and "prev_total_ms" of the last action.

    Every method raises OpenGatoError with the server's sentence; after one that does not say that the connection is closed, the session
    goes on.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float | None = 60.0):
        self._url, self._timeout = url, timeout
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            self._socket = connect(
                url, additional_headers=headers, compression=None, max_size=None, open_timeout=timeout, proxy=None, close_timeout=2
            )
        except InvalidStatus as error:
            raise OpenGatoError(f"{url} refused the connection: {(error.response.body or b'').decode(errors='replace').strip()}") from None
        except (OSError, TimeoutError, WebSocketException) as error:
            raise OpenGatoError(f"cannot connect to {url}: {error}; is `opengato serve` running there?") from None
        self.timing: dict[str, float] = {}
        self.metadata: dict[str, Any] = self._receive()

    def reset(
        self, task: str | None = None, prompt: Any = None, seed: int | None = None, newest_wins: bool | None = None
    ) -> dict[str, Any]:
        """Begin an episode with an empty memory.

        Args:
            task: default: the session's, else the server's.
            prompt: a demonstration to act after, an `Episode` or {"observations": …, "actions": …} whose leaves hold T timesteps;
                None: the checkpoint's own, False: none.
            seed: of the sampling; default: as a Policy.
            newest_wins: an observation replaces one that still waits, from now on.

        Returns:
            {"task": its name, "prompt_timesteps": how many of the prompt are used}.
        """
        if hasattr(prompt, "observations"):
            prompt = {"observations": prompt.observations, "actions": prompt.actions}
        given = {"task": task, "prompt": prompt, "seed": seed, "newest_wins": newest_wins}
        answer = self._ask({"opengato": "reset"} | {key: value for key, value in given.items() if value is not None})
        return {"task": answer["task"], "prompt_timesteps": answer["prompt_timesteps"]}

    def act(self, observation: Any, deadline_ms: float | None = None) -> Any:
        """The action for an observation, a member of the task's action space; an error if it would be later than the deadline."""
        message = {"opengato": "act", "observation": observation}
        if deadline_ms is not None:
            message["deadline_ms"] = deadline_ms
        answer = self._ask(message)
        self.timing = answer["server_timing"]
        return _without_horizon(self.metadata["tasks"][answer["task"]]["action_space"], answer["actions"])

    def close(self) -> None:
        """End the session."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        data = wire.pack(message)
        try:
            self._socket.send(data)
        except ConnectionClosed as error:
            raise self._closed(error) from None
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        try:
            answer = self._socket.recv(self._timeout)
        except TimeoutError:
            # Its answer may still come, and would be taken for that of the next question.
            self._socket.close()
            raise OpenGatoError(f"{self._url} did not answer within {self._timeout} s, so the connection is closed") from None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        if isinstance(answer, str):
            raise OpenGatoError(answer)
        return wire.unpack(answer, _TRUSTED, _TRUSTED)

    def _closed(self, error: ConnectionClosed) -> OpenGatoError:
        return OpenGatoError(f"the connection to {self._url} is closed: {error.rcvd.reason if error.rcvd and error.rcvd.reason else error}")


def _without_horizon(space: dict[str, Any], actions: Any) -> Any:
    """The first action of a chunk, nested and typed as the space, which is described as in `opengato.tokens.spaces`."""
    kind = space["type"]
    if kind == "Dict":
        return {key: _without_horizon(sub, actions[key]) for key, sub in space["spaces"].items()}
    if kind == "Tuple":
        return tuple(_without_horizon(sub, entry) for sub, entry in zip(space["spaces"], actions))
    if kind == "Text":
        return actions[0]
    return int(actions[0]) if kind == "Discrete" else np.array(actions[0])
