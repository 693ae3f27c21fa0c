"""Acting over a network: openpi's websocket protocol with sessions and a memory, and OpenAI's chat endpoint (docs/serving.md).

A client connects by websocket and is sent a msgpack map, the metadata: the tasks, their spaces, the limits. From then on every binary
frame that it sends is answered by one frame, in the same order: a binary frame with a msgpack map, or a text frame with one sentence that
says what was wrong, after which the session goes on. Arrays travel as in `wire`.

A frame is either an observation as openpi has it, a map of the task's observation fields, or a control message, a map with the key
"opengato":

    {"opengato": "reset", "task": "babyai/go-to-local", "prompt": None, "seed": 0, "newest_wins": False}
        Begin an episode with an empty memory. All keys but the first may be missing. `prompt` is a demonstration
        {"observations": …, "actions": …} whose leaves hold T timesteps, None for the checkpoint's own, False for none.
        `newest_wins`: from now on an observation that arrives while an older one waits replaces it, and the older is answered by an error.
        Answer: {"opengato": "reset", "task": …, "prompt_timesteps": …}.
    {"opengato": "act", "observation": …, "deadline_ms": 50.0}
        As a bare observation, of any space, and with a deadline counted from its arrival at the server: what would be late is an error.

The answer to an observation is {"actions": …, "server_timing": {"infer_ms": …, "prev_total_ms": …}}, for "act" with "task" beside it.
`actions` is nested like the action space; its leaves have a leading axis, the horizon, and a text is a list of strings. The horizon is 1
for "act", for a bare observation the server's setting: its first action is for now, the others for the steps after it.
"""
