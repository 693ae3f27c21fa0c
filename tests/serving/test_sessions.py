"""Sessions: who acts is who would act alone, whatever others do; resets, prompts, tasks; deadlines, newest observation, full queues."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from gymnasium import spaces

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")
connect = pytest.importorskip("websockets.sync.client").connect

from serving_helpers import ANSWER, ARM, LAYOUTS, Gate, build, observe, running  # noqa: E402

from opengato.client import Client  # noqa: E402
from opengato.episode import Episode, stack  # noqa: E402
from opengato.errors import OpenGatoError  # noqa: E402
from opengato.model.precision import convert  # noqa: E402
from opengato.model.pytorch_private import check_compiler  # noqa: E402
from opengato.policy.policy import Policy  # noqa: E402
from opengato.serving import compiling, wire  # noqa: E402
from opengato.serving.limits import Limits  # noqa: E402


def same(one, two):
    if isinstance(one, dict):
        return set(one) == set(two) and all(same(one[key], two[key]) for key in one)
    return np.allclose(one, two, atol=1e-6) if isinstance(one, np.ndarray) else one == two


def test_an_action_is_a_member_of_its_space(server):
    rng = np.random.default_rng(0)
    with Client(server.url) as client:
        for task in ("t/arm", "t/grid", "t/hand"):
            assert client.reset(task) == {"task": task, "prompt_timesteps": 0}
            action = client.act(observe(task, rng))
            assert LAYOUTS[task].action_space.contains(action), action
            assert client.timing["infer_ms"] > 0
        client.reset("dialogue/chitchat")
        assert isinstance(client.act("hello"), str)


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_a_session_acts_as_a_policy_of_its_own_whatever_the_others_do(tokenizer, family):
    checkpoint = build(tokenizer, LAYOUTS, family)
    steps, tasks = 12, ["t/arm", "t/grid", "t/hand", "dialogue/chitchat", "t/arm", "t/grid", "t/hand"]
    actions, errors = [[] for _ in tasks], []
    with running(checkpoint, max_text=16) as server:

        def play(number, task):
            rng = np.random.default_rng(number)
            try:
                with Client(server.url) as client:
                    client.reset(task)
                    for step in range(steps):
                        if step == 5 + number:
                            client.reset(task)  # in the middle of the others' episodes
                        actions[number].append(client.act(observe(task, rng)))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=play, args=pair) for pair in enumerate(tasks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    for number, task in enumerate(tasks):
        policy, rng = Policy(checkpoint, max_text=16), np.random.default_rng(number)
        policy.reset(task)
        for step in range(steps):
            if step == 5 + number:
                policy.reset(task)
            assert same(policy.act(observe(task, rng)), actions[number][step]), (task, step)


def test_a_prompt_and_a_seed_are_those_of_a_policy(checkpoint, server):
    rng = np.random.default_rng(1)
    seen, done = [observe("t/grid", rng) for _ in range(3)], [1, 5, 2]
    prompt = Episode(stack(seen), np.array(done), np.zeros(3, np.float32), "t/grid")
    policy = Policy(checkpoint)
    policy.reset("t/grid", prompt)
    with Client(server.url) as client, Client(server.url) as other:
        assert client.reset("t/grid", prompt)["prompt_timesteps"] == 3
        for client_seed in (other, other):  # a session of its own, seeded twice: the same sampling twice
            client_seed.reset("t/grid", seed=7)
        observations = [observe("t/grid", rng) for _ in range(4)]
        assert [client.act(o) for o in observations] == [policy.act(o) for o in observations]
        other.reset("t/grid", seed=7)
        first = [other.act(o) for o in observations]
        other.reset("t/grid", seed=7)
        assert [other.act(o) for o in observations] == first
        for bad, sentence in (
            ({"observations": {}, "actions": np.array(done)}, "lacks image, mission, pose"),
            ({"observations": prompt.observations, "actions": np.array([1, 9, 2])}, "action is 9 at timestep 1"),
            ({"observations": prompt.observations, "actions": np.array([1])}, "has shape"),
            ({"observations": prompt.observations, "actions": []}, "has no timesteps"),
            ({"observations": prompt.observations, "actions": np.zeros(5000, np.int8)}, "5000 timesteps where 4096 are allowed"),
            ({"observations": prompt.observations | {"mission": np.zeros(3)}, "actions": np.array(done)}, "give a list of 3 texts"),
            (
                {"observations": prompt.observations | {"mission": ["x", 1, "y"]}, "actions": np.array(done)},
                "timestep 1, is 1: give a text",
            ),
            ("once upon a time", "send a map of observations and actions"),
        ):
            with pytest.raises(OpenGatoError, match=sentence):
                client.reset("t/grid", bad)
        # The refused ones changed nothing.
        observation = observe("t/grid", rng)
        assert client.act(observation) == policy.act(observation)


def test_the_checkpoints_own_prompt_is_read_unless_it_is_declined(tokenizer):
    from opengato.tokens.encode import encode

    checkpoint, rng = build(tokenizer, {"t/arm": ARM}), np.random.default_rng(0)
    episode = Episode(rng.normal(size=(4, 3)).astype(np.float32), np.zeros((4, 2), np.float32), np.zeros(4, np.float32), "t/arm")
    checkpoint.prompts["t/arm"] = encode(ARM, episode, tokenizer)
    with running(checkpoint) as server, Client(server.url) as client:
        assert client.reset()["prompt_timesteps"] == 4
        assert client.reset(prompt=False)["prompt_timesteps"] == 0


def test_a_client_without_control_messages(checkpoint, tokenizer):
    rng = np.random.default_rng(0)

    with running(checkpoint) as server, connect(server.url, max_size=None) as socket:
        metadata = wire.unpack(socket.recv(60))
        assert set(metadata["tasks"]) == set(LAYOUTS) and metadata["default_task"] is None
        sentence = infer(socket, {"observation": observe("t/arm", rng)})
        assert "no task is chosen" in sentence and all(task in sentence for task in LAYOUTS)
        assert "did you mean 't/grid'" in infer(socket, observe("t/grid", rng) | {"task": "t/gird"})
        answer = infer(socket, observe("t/grid", rng) | {"prompt": "t/grid"})
        assert answer["actions"].shape == (1,) and answer["actions"].dtype.kind == "i"
        assert set(answer["server_timing"]) == {"infer_ms", "prev_total_ms"}
        # The next one need not name it; another name begins an episode of another task.
        assert infer(socket, observe("t/grid", rng))["actions"].shape == (1,)
        assert infer(socket, {"observation": observe("t/arm", rng), "task": "t/arm"})["actions"].shape == (1, 2)
        hand = infer(socket, observe("t/hand", rng) | {"task": "t/hand"})["actions"]
        assert hand["fingers"].shape == (1, 2) and hand["wrist"].shape == (1, 1)
        said = infer(socket, {"observation": "hello", "task": "dialogue/chitchat"})["actions"]
        assert isinstance(said, list) and len(said) == 1 and isinstance(said[0], str)
        assert "field 'prompt' names no task" in infer(socket, {"observation": "hello", "prompt": "do something"})
    with running(checkpoint, task="t/arm") as server, connect(server.url, max_size=None) as socket:
        assert "server_timing" not in wire.unpack(socket.recv(60))
        first = infer(socket, {"observation": observe("t/arm", rng)})
        assert first["actions"].shape == (1, 2) and set(first["server_timing"]) == {"infer_ms"}
    with running(build(tokenizer, {"t/arm": ARM})) as server, Client(server.url) as client:
        assert client.metadata["default_task"] == "t/arm"
        assert ARM.action_space.contains(client.act(observe("t/arm", rng)))
    with pytest.raises(OpenGatoError, match="did you mean 't/arm'"):
        running(checkpoint, task="t/amr").__enter__()


def infer(socket, message):
    socket.send(wire.pack(message))
    return answer(socket)


def test_a_chunk_is_the_policy_stepped_on_its_last_observation(checkpoint):
    rng, policy = np.random.default_rng(0), Policy(checkpoint)
    with running(checkpoint, horizon=3) as server, connect(server.url) as socket:
        assert wire.unpack(socket.recv(60))["horizon"] == 3
        for task in ("t/hand", "t/grid"):
            policy.reset(task)
            for _ in range(3):
                seen = observe(task, rng)
                actions = infer(socket, seen | {"task": task})["actions"]
                for step in range(3):
                    at = {key: leaf[step] for key, leaf in actions.items()} if isinstance(actions, dict) else actions[step]
                    assert same(at, policy.act(seen))
        socket.send(ask(observe("t/grid", rng)))  # a client that says what it wants gets the one action it asks for
        assert answer(socket)["actions"].shape == (1,)


def test_a_chunk_that_the_network_predicts_takes_one_pass(tokenizer):
    rng, agent = np.random.default_rng(0), build(tokenizer, LAYOUTS, chunk=4)
    policy = Policy(agent)
    with running(agent, horizon=6) as server, connect(server.url) as socket:
        socket.recv(60)
        policy.reset("t/arm")
        for step in range(3):
            seen = observe("t/arm", rng)
            actions = infer(socket, {"observation": seen, "task": "t/arm"} if not step else {"observation": seen})["actions"]
            np.testing.assert_array_equal(actions, np.stack(policy.plan(seen, 6)))
            assert policy.engine.slots[0].position == 2 * (step + 1)  # four and two


def test_a_free_prompt_is_the_instruction(checkpoint):
    rng, policy = np.random.default_rng(0), Policy(checkpoint)
    with running(checkpoint, task="t/grid") as server, connect(server.url) as socket:
        socket.recv(60)
        policy.reset("t/grid")
        for _ in range(2):
            seen = observe("t/grid", rng)
            told = {key: value for key, value in seen.items() if key != "mission"} | {"prompt": "fetch the blue key"}
            assert infer(socket, told)["actions"][0] == policy.act(seen | {"mission": "fetch the blue key"})
        socket.send(wire.pack(observe("t/grid", rng) | {"prompt": "and something else"}))
        assert "field 'prompt' names no task" in socket.recv(60)


def ask(observation, **more):
    return wire.pack({"opengato": "act", "observation": observation} | more)


def reset(socket, task, **more):
    socket.recv(60)  # the metadata
    socket.send(wire.pack({"opengato": "reset", "task": task} | more))
    assert wire.unpack(socket.recv(60))["task"] == task


def answer(socket):
    data = socket.recv(60)
    return data if isinstance(data, str) else wire.unpack(data)


def test_what_waits_is_gathered_into_one_batch(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint) as server:
        sockets = [connect(server.url) for _ in range(5)]
        for socket in sockets:
            reset(socket, "t/arm")
        gate = Gate(server)
        sockets[0].send(ask(observe("t/arm", rng)))
        gate.entered.acquire()
        for socket in sockets[1:]:
            for _ in range(2):
                socket.send(ask(observe("t/arm", rng)))
        server.unanswered(9)
        gate.open.release(10)
        for socket, count in zip(sockets, (1, 2, 2, 2, 2)):
            for _ in range(count):
                assert "actions" in answer(socket)
            socket.close()
        assert gate.sizes == [1, 4, 4]
        text = server.server.service.metrics.text().decode()
        assert "opengato_batch_size_count 3.0" in text and 'opengato_requests_total{kind="act"} 9.0' in text


def test_no_robot_waits_for_a_sentence_to_end(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint) as server, connect(server.url) as robot, connect(server.url) as talker:
        reset(robot, "t/arm")
        reset(talker, "dialogue/chitchat")
        engine, batcher = server.server.service.engine, server.server.service.batcher
        go_on, passes, entered = engine.go_on, threading.Semaphore(0), threading.Semaphore(0)

        def gated(unfinished, on_token=None):
            if unfinished is batcher._words:
                entered.release()
                passes.acquire()
            return go_on(unfinished, on_token)

        engine.go_on = gated
        talker.send(ask("hello"))
        policy, seen = Policy(checkpoint), [observe("t/arm", rng) for _ in range(3)]
        policy.reset("t/arm")
        for observation in seen:  # an action between every two words
            entered.acquire()
            robot.send(ask(observation))
            server.unanswered(2)
            passes.release()
            assert same(answer(robot)["actions"][0], policy.act(observation))
        passes.release(1000)
        policy.reset("dialogue/chitchat")
        talked = answer(talker)
        assert talked["actions"] == [policy.act("hello")] and talked["server_timing"]["infer_ms"] > 0
        # One that leaves in the middle of its sentence is not listened to any more.
        passes.acquire(blocking=False)
        while passes.acquire(blocking=False) or entered.acquire(blocking=False):
            pass
        talker.send(ask("hello"))
        entered.acquire()
        talker.close()
        server.until(lambda s: s._places == 1)
        passes.release()
        robot.send(ask(seen[0]))
        assert "actions" in answer(robot)
        server.until(lambda s: not s.service.batcher._words and len(s.service.batcher._free) == len(s.service.engine.slots) - 1)


def test_what_would_be_late_is_an_error_and_no_stale_action(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint) as server, connect(server.url) as socket:
        reset(socket, "t/arm")
        socket.send(ask(observe("t/arm", rng), deadline_ms=0))
        assert "past its deadline of 0 ms" in answer(socket) and not server.server.service.metrics.text().decode().count(
            "batch_size_count 1.0"
        )
        socket.send(ask(observe("t/arm", rng), deadline_ms=1e6))
        assert "actions" in answer(socket)
        socket.send(ask(observe("t/arm", rng), deadline_ms=-1))
        assert "field 'deadline_ms' is -1" in answer(socket)
        gate, batcher = Gate(server), server.server.service.batcher
        clock = batcher._clock
        socket.send(ask(observe("t/arm", rng), deadline_ms=1e6))
        gate.entered.acquire()
        batcher._clock = lambda: clock() + 2000.0  # while the engine works, its deadline passes
        gate.open.release()
        assert "when its action was chosen" in answer(socket)
        assert 'errors_total{kind="late"} 2.0' in server.server.service.metrics.text().decode()


def test_the_newest_observation_wins_where_that_is_asked_for(checkpoint):
    rng = np.random.default_rng(0)
    seen = [observe("t/arm", rng) for _ in range(4)]
    with running(checkpoint) as server, connect(server.url) as socket:
        reset(socket, "t/arm", newest_wins=True)
        gate = Gate(server)
        socket.send(ask(seen[0]))
        gate.entered.acquire()
        for observation in seen[1:]:
            socket.send(ask(observation))
        server.unanswered(4)
        gate.open.release(2)
        answers = [answer(socket) for _ in range(4)]
        # In the order of the questions: the first was at work, the second and third were replaced.
        assert "actions" in answers[0] and "replaced by a newer" in answers[1] and "replaced" in answers[2] and "actions" in answers[3]
        policy = Policy(checkpoint)
        policy.reset("t/arm")
        assert same(policy.act(seen[0]), answers[0]["actions"][0]) and same(policy.act(seen[3]), answers[3]["actions"][0])


def test_full_queues_push_back(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint, limits=Limits(queue=3, total_queue=4)) as server, connect(server.url) as one, connect(server.url) as two:
        reset(one, "t/arm")
        reset(two, "t/arm")
        gate = Gate(server)
        one.send(ask(observe("t/arm", rng)))
        gate.entered.acquire()
        for socket in (one, two):  # of one, one runs and two wait; of two, two wait: four in all
            for _ in range(3):
                socket.send(ask(observe("t/arm", rng)))
            server.unanswered(4 if socket is one else 7)
        gate.open.release(20)
        assert ["actions" in answer(one) for _ in range(3)] == [True] * 3 and "3 requests of this connection wait" in answer(one)
        assert ["actions" in answer(two) for _ in range(2)] == [True] * 2 and "4 requests wait at this server" in answer(two)
        one.send(ask(observe("t/arm", rng)))
        assert "actions" in answer(one)


def test_a_client_that_sends_far_ahead_is_answered_in_order(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint, limits=Limits(queue=4)) as server, connect(server.url) as socket:
        reset(socket, "t/arm")
        gate = Gate(server)
        for _ in range(200):
            socket.send(ask(observe("t/arm", rng)))
            socket.send(ask(np.zeros(7)))
        # Four wait, and the answers to what came after them fill the rest of the answers' queue: no more is read. The engine may now work.
        server.until(lambda s: all(session._replies.full() for session in s._sessions))
        gate.open.release(10_000)
        answers = [answer(socket) for _ in range(400)]
        assert all("has shape (7,)" in wrong for wrong in answers[1::2])
        right = answers[0::2]
        assert all("actions" in r or "4 requests of this connection wait" in r for r in right)
        assert ["actions" in r for r in right[:5]] == [True] * 4 + [False]


def test_too_many_messages_and_too_many_connections(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint, limits=Limits(sessions=2, rate=1e-9, burst=3)) as server, connect(server.url) as one:
        reset(one, "t/arm")
        for wanted in (True, True, False, False):
            one.send(ask(observe("t/arm", rng)))
            assert ("actions" in answer(one)) is wanted
        two = connect(server.url)
        with pytest.raises(OpenGatoError, match="all 2 sessions are taken"):
            Client(server.url)
        two.close()
        server.until(lambda s: s._places == 1)
        Client(server.url).close()  # the place is free again


def test_a_failing_engine_tells_and_a_reset_mends(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint) as server, Client(server.url) as client:
        client.reset("t/arm")
        act, server.server.service.engine.act = server.server.service.engine.act, None
        with pytest.raises(OpenGatoError, match="the server failed"):
            client.act(observe("t/arm", rng))
        server.server.service.engine.act = act
        with pytest.raises(OpenGatoError, match="send a reset"):
            client.act(observe("t/arm", rng))
        client.reset("t/arm")
        assert ARM.action_space.contains(client.act(observe("t/arm", rng)))
        # An answer in words that fails on its way; the robots' memories are not touched.
        with Client(server.url) as talker:
            talker.reset("dialogue/chitchat")
            go_on, server.server.service.engine.go_on = server.server.service.engine.go_on, None
            with pytest.raises(OpenGatoError, match="the server failed"):
                talker.act("hello")
            server.server.service.engine.go_on = go_on
            assert ARM.action_space.contains(client.act(observe("t/arm", rng)))
            talker.reset("dialogue/chitchat")
            assert isinstance(talker.act("hello"), str)


def test_stopping_finishes_what_was_started_and_closes_with_a_reason(checkpoint):
    from websockets.exceptions import ConnectionClosed

    rng = np.random.default_rng(0)
    with running(checkpoint) as server, connect(server.url) as busy, connect(server.url) as idle:
        reset(busy, "t/arm")
        idle.recv(60)
        gate = Gate(server)
        busy.send(ask(observe("t/arm", rng)))
        gate.entered.acquire()
        busy.send(ask(observe("t/arm", rng)))  # waits for the next batch
        server.unanswered(2)
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(60)
        assert closed.value.rcvd.code == 1001 and "shutting down" in closed.value.rcvd.reason
        with pytest.raises(OSError):
            connect(server.url, open_timeout=60)
        gate.open.release(2)
        assert "actions" in answer(busy) and "actions" in answer(busy)
        with pytest.raises(ConnectionClosed) as closed:
            busy.recv(60)
        assert closed.value.rcvd.code == 1001
        server.thread.join(60)
        assert not server.thread.is_alive()


def test_stopping_does_not_wait_for_clients_that_are_gone(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint, limits=Limits(grace=1e6)) as server:
        socket = connect(server.url)
        reset(socket, "t/arm")
        gate = Gate(server)
        for _ in range(3):
            socket.send(ask(observe("t/arm", rng)))
        gate.entered.acquire()
        server.unanswered(3)
        server.stop()
        server.until(lambda s: s.service.closing)
        socket.socket.close()
        server.thread.join(60)
        assert not server.thread.is_alive()
        gate.open.release(3)


def test_the_client_needs_no_torch_and_says_what_is_wrong():
    code = "import sys, opengato.client; assert not {'torch', 'gymnasium', 'aiohttp'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(OpenGatoError, match="is `opengato serve` running there"):
        Client("ws://127.0.0.1:9", timeout=5)


def test_every_kind_of_space_is_checked_and_kept(tokenizer):
    from opengato.serving.check import Checker
    from opengato.tokens.layout import Layout

    checker = Checker(tokenizer, 100, 50)
    whole = Layout(
        spaces.Dict(
            a=spaces.Tuple((spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 5]))),
            b=spaces.Box(0, 10, (2,), np.int32),
            c=spaces.MultiBinary(2),
            d=spaces.Box(-1, 1, (), np.float64),
        ),
        spaces.Discrete(2),
    )
    good = {"a": [-1, np.array([1, 4], np.uint64)], "b": [0, 10], "c": np.array([True, False]), "d": 0.5}
    out = checker.observation(whole, good)
    assert whole.observation_space.contains(out), out
    for change, sentence in (
        ({"a": [2, np.array([1, 4])]}, "observation field a.0 is 2"),
        ({"a": [0, np.array([1, 5])]}, "observation field a.1 is 5 at entry 1"),
        ({"a": [0, np.array([2**64 - 1, 0], np.uint64)]}, "observation field a.1 is 18446744073709551615 at entry 0"),
        ({"a": [0]}, "observation field a is a list of 1: give a list of 2"),
        ({"b": np.array([0.0, 1.0])}, "observation field b is float64: give integers"),
        ({"c": [0, 2]}, "observation field c is 2 at entry 1"),
        ({"d": float("nan")}, "observation field d is nan"),
        ({"d": "x"}, "observation field d is x: give floats"),
        ({"d": [[1, 2], [3]]}, "observation field d is"),
        ({"d": 10**400}, "observation field d is"),
        ({"e": 1}, "the observation has e, which its space does not know"),
    ):
        with pytest.raises(OpenGatoError) as caught:
            checker.observation(whole, good | change)
        assert sentence in str(caught.value), caught.value
    assert checker.observation(ARM, np.ones(3)).dtype == np.float32
    with pytest.raises(OpenGatoError, match=r"is 1e\+300 at entry 1"):
        checker.observation(ARM, np.array([0, 1e300, 0]))
    with pytest.raises(OpenGatoError, match="give uint8"):
        checker.observation(ANSWER, {"image": np.zeros((32, 32, 3)), "question": "?"})
    with pytest.raises(OpenGatoError, match="characters where 100 are allowed"):
        checker.observation(ANSWER, {"image": np.zeros((32, 32, 3), np.uint8), "question": "x" * 101})
    with pytest.raises(OpenGatoError, match="tokens long where 50 fit"):
        checker.observation(ANSWER, {"image": np.zeros((32, 32, 3), np.uint8), "question": "\u4e00\u9fa5" * 50})


@pytest.mark.slow
def test_a_server_compiles_for_what_comes_often_while_it_acts(checkpoint, monkeypatch):
    """Two sessions of one task get the actions of a server that does not compile, before, while and after theirs is compiled."""
    try:
        check_compiler(torch.device("cpu"))
    except OpenGatoError:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(compiling, "_OFTEN", 5)
    fast = build(checkpoint.tokenizer, {"t/arm": ARM})
    convert(fast.model, "float32", compiled=True)
    settings = {"limits": Limits(sessions=2, chats=0), "temperature": 0.0}
    with running(build(checkpoint.tokenizer, {"t/arm": ARM}), **settings) as plain, running(fast, **settings) as compiled:
        rng, deadline = np.random.default_rng(0), time.monotonic() + 300
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(server.url)) for server in (plain, plain, compiled, compiled)]
            for client in clients:
                client.reset("t/arm", seed=1)
            engine, more = compiled.server.service.engine, 20
            while more:
                if engine.expects(ARM, 2):
                    more -= 1
                assert time.monotonic() < deadline
                seen = observe("t/arm", rng)
                actions = [client.act(seen) for client in clients]
                for action in actions[1:]:
                    np.testing.assert_allclose(action, actions[0], atol=0.02)
        assert fast.model.step._fast


@pytest.mark.slow
def test_a_server_that_is_compiling_stops_at_once(tokenizer, tmp_path):
    """With nothing on the disk compiling takes half a minute; it is begun after fifty batches."""
    try:
        check_compiler(torch.device("cpu"))
    except OpenGatoError:
        pytest.skip("no C++ compiler")
    build(tokenizer, {"t/arm": ARM}).save(tmp_path / "checkpoint")
    command = [sys.executable, "-m", "opengato", "serve", str(tmp_path / "checkpoint"), "--port", "0", "--compiled", "--sessions", "1"]
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            url = f"ws://127.0.0.1:{server.stdout.readline().split(':')[2].split()[0]}"
            rng = np.random.default_rng(0)
            with Client(url) as client:
                client.reset("t/arm")
                for _ in range(60):
                    client.act(observe("t/arm", rng))
                time.sleep(3)
            server.terminate()
            assert server.wait(5) == 0
            assert "terminate" not in server.stderr.read()
        finally:
            server.kill()
