"""Malformed and hostile messages: each is answered by one sentence, the server goes on, and other sessions act as if nothing had been."""

import socket as sockets
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")
msgpack = pytest.importorskip("msgpack")
spaces = pytest.importorskip("gymnasium").spaces
connect = pytest.importorskip("websockets.sync.client").connect

from serving_helpers import observe, running  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

from opengato.client import Client  # noqa: E402
from opengato.errors import OpenGatoError  # noqa: E402
from opengato.policy.policy import Policy  # noqa: E402
from opengato.serving import wire  # noqa: E402
from opengato.serving.limits import Limits  # noqa: E402

BYTES = 64 * 1024  # of a message, in these tests


def array(dtype="<f4", shape=(3,), data=bytes(12)):
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def scalar(dtype, data):
    return {b"__npgeneric__": True, b"data": data, b"dtype": dtype}


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


# What can be wrong with a whole message, and words that its answer must have.
RAW = {
    "empty": (b"", "no msgpack"),
    "random": (bytes(range(193, 256)) * 3, "msgpack"),
    "no map": (msgpack.packb([1, 2]), "a list of 2: send a map"),
    "a number": (msgpack.packb(7), "the message is 7"),
    "trailing": (msgpack.packb({"a": 1}) + b"\x01", "goes on after its end"),
    "text key": (msgpack.packb({b"a": 1}), "is no text"),
    "number key": (msgpack.packb({1: 1}), "msgpack"),
    "list key": (b"\x81\x91\x01\x01", "msgpack"),
    "extension": (msgpack.packb({"a": msgpack.ExtType(5, b"x")}), "msgpack"),
    "timestamp": (msgpack.packb({"a": msgpack.Timestamp(0)}), "msgpack"),
    "no UTF-8": (b"\x81\xa1a\xa2\xff\xfe", "msgpack"),
    "list of 2**32 - 1": (b"\x81\xa1a\xdd\xff\xff\xff\xff", "msgpack"),
    "map of 2**32 - 1": (b"\xdf\xff\xff\xff\xff", "msgpack"),
    "bytes of 2**32 - 1": (b"\x81\xa1a\xc6\xff\xff\xff\xff", "msgpack"),
    "vast lists in vast lists": (b"\x81\xa1a" + b"\xdc\x0f\xff" * 900, "msgpack"),
    "long list": (msgpack.packb({"a": list(range(5000))}), "msgpack"),
    "many lists": (b"\x81\xa1a" + msgpack.packb([[0] * 4000] * 16) + b"", "nested|entries|lacks|observation"),
    "deep list": (msgpack.packb({"a": nested(100)}), "nested more than 16 deep"),
    "deeper list": (b"\x81\xa1a" + b"\x91" * 60_000 + b"\x01", "msgpack"),
    "deep map": (b"\x81\xa1a" * 1000 + b"\x01", "nested more than 16 deep|msgpack"),
    "large": (msgpack.packb({"a": bytes(BYTES)}), "are allowed"),
    "a field of lines": (msgpack.packb({"joints": [0, 0], "touch": [0, 0, 0], "a\nb\x1b[2J": 1}), "has a\ufffdb\ufffd[2J"),
    "a command": (msgpack.packb({"opengato": "sudo"}), "send 'reset' or 'act'"),
    "a command of lists": (msgpack.packb({"opengato": [1]}), "send 'reset' or 'act'"),
    "an act of nothing": (msgpack.packb({"opengato": "act"}), "lacks 'observation'"),
    "an act of more": (msgpack.packb({"opengato": "act", "observation": 1, "x": 1}), "has no x"),
    "a deadline": (msgpack.packb({"opengato": "act", "observation": 1, "deadline_ms": "now"}), "'deadline_ms' is now"),
    "a deadline of NaN": (msgpack.packb({"opengato": "act", "observation": 1, "deadline_ms": float("nan")}), "'deadline_ms' is nan"),
    "a reset to nowhere": (msgpack.packb({"opengato": "reset", "task": "t/arn"}), "did you mean 't/arm'"),
    "a reset to a list": (msgpack.packb({"opengato": "reset", "task": []}), "'task' is a list of 0"),
    "a reset with a seed": (msgpack.packb({"opengato": "reset", "seed": -1}), "'seed' is -1"),
    "a reset with a wish": (msgpack.packb({"opengato": "reset", "newest_wins": "yes"}), "'newest_wins' is yes"),
    "a reset with a prompt": (msgpack.packb({"opengato": "reset", "prompt": 5}), "the prompt is 5"),
    "a prompt of nothing": (msgpack.packb({"opengato": "reset", "prompt": {"observations": {}, "actions": {}}}), "no timesteps|prompt's"),
}
# What can be wrong with one field of t/hand (float32 joints (2,), touch MultiBinary(3)).
JOINTS = {
    "no array": (None, "joints is None"),
    "a text": ("left", "joints is left"),
    "a map": ({"x": 1}, "joints is"),
    "bytes": (b"\0" * 8, "joints is"),
    "a vast list of texts": (["x"] * 1000 + ["y" * 10_000], "joints is a list of 1001"),
    "a list of texts": (["x", "y"], "joints is a list of 2"),
    "impossible letters": (array("<U1", (2,), b"\xff" * 8), "joints has a code point that is no letter"),
    "halves of letters": (array("<U1", (2,), b"\x00\xd8\x00\x00" * 2), "joints has a code point that is no letter"),
    "halves of letters, turned": (array(">U1", (2,), b"\x00\x00\xd8\x00" * 2), "joints has a code point that is no letter"),
    "lists of unequal length": ([[1, 2], [3]], "joints is"),
    "shape (3,)": (array(), "joints has shape (3,) where its space has (2,)"),
    "shape (1, 2)": (array(shape=(1, 2), data=bytes(8)), "joints has shape (1, 2)"),
    "NaN": (np.array([0, np.nan], np.float32), "joints is nan at entry 1"),
    "inf": (np.array([-np.inf, 0]), "joints is -inf at entry 0"),
    "too large for float32": (np.array([0, 1e300]), "joints is 1e+300 at entry 1"),
    "booleans": (np.array([True, False]), "joints is bool"),
    "texts": (np.array(["a", "b"]), "joints is <U1"),
    "complex": (array("<c8", (2,), bytes(16)), "joints has dtype <c8"),
    "objects": (array("|O", (2,), bytes(16)), "joints has dtype |O"),
    "records": (array("|V8", (2,), bytes(16)), "joints has dtype |V8"),
    "fields": (array("f8,f8", (1,), bytes(16)), "joints has dtype f8,f8"),
    "a dtype of arrays": (array("(1000000000,)f8", (1,), bytes(8)), "joints has dtype"),
    "no dtype": (array("<f3", (2,), bytes(6)), "joints has dtype <f3"),
    "a dtype of lists": (array([["a", "<f4"]], (2,), bytes(8)), "joints has dtype a list"),
    "too little data": (array("<f4", (2,), bytes(7)), "joints has 7 bytes where float32 of shape (2,) takes 8"),
    "a giant": (array("<f4", (10**9, 10**9), bytes(8)), "joints has 8 bytes"),
    "an empty giant": (array("<f4", (0, 2**62), b""), "no array has such a side"),
    "texts of no length": (array("<U0", (2,), b""), "no array has such"),
    "a negative shape": (array("<f4", (-1, -2), bytes(8)), "joints has no shape"),
    "a shape of texts": (array("<f4", ("2",), bytes(8)), "joints has no shape"),
    "100 dimensions": (array("<f4", (1,) * 100, bytes(4)), "joints has no shape"),
    "no shape": (array("<f4", None, bytes(8)), "joints has no shape"),
    "no data": (array("<f4", (2,), 5), "joints has no bytes"),
    "a scalar of text": (scalar("<f4", "x"), "joints is x, which is no float32"),
    "a vast integer": (scalar("|i1", 10**6), "joints is 1000000, which is no int8"),
    "a scalar of objects": (scalar("|O", 1), "joints has dtype |O"),
}


def hostile(number, rng):
    """A frame, and words of which its answer must have one; None where it may also be understood."""
    good = {"opengato": "act", "observation": observe("t/hand", rng)}
    kind = number % 8
    if kind == 0:
        data = wire.pack(good)
        return data[: rng.integers(1, len(data))], "msgpack"
    if kind == 1:
        data = bytearray(wire.pack(good))
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        return bytes(data), None
    if kind == 2:
        return rng.bytes(rng.integers(1, 300)), None
    if kind == 3:
        return "{'joints': [1, 2]}" * int(rng.integers(1, 9)), "send binary frames"
    if kind == 4:
        names = sorted(RAW)
        return RAW[names[number // 8 % len(names)]]
    if kind == 5:
        del good["observation"]["touch"]
        good["observation"] |= {f"x{i}": 1 for i in range(rng.integers(0, 3))}
        return wire.pack(good), "lacks touch"
    if kind == 6:
        good["observation"]["touch"] = np.full(3, rng.integers(2, 100))
        return wire.pack(good), "observation field touch is"
    names = sorted(JOINTS)
    value, words = JOINTS[names[number // 8 % len(names)]]
    good["observation"]["joints"] = value
    return wire.pack(good), words


def vanish(server, number):
    """Connect, begin a message, and be gone."""
    client = connect(server.url, close_timeout=0)
    raw = client.socket
    start = {0: b"\x82\xfe\x03\xe8\0\0\0\0" + b"x" * 100, 1: b"\x82", 2: b"\x02\x83\0\0\0\0abc", 3: b"\xff\xff\xff", 4: b"\x82\x03abc"}
    if number % 2:  # a reset in place of an end
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    raw.sendall(start[number % 5])
    raw.close()


def attack(checkpoint, count):
    rng = np.random.default_rng(0)
    policy = Policy(checkpoint)
    policy.reset("t/grid")
    with running(checkpoint, limits=Limits(sessions=16, message_bytes=BYTES, rate=1e6, burst=10**6)) as server, Client(server.url) as good:
        good.reset("t/grid")
        bad = None
        for number in range(count):
            if bad is None:
                bad = connect(server.url, max_size=None)
                bad.recv(60)
                bad.send(wire.pack({"opengato": "reset", "task": "t/hand"}))
                assert wire.unpack(bad.recv(60))["task"] == "t/hand"
            if number % 50 == 49:
                vanish(server, number // 50)
            if number % 100 == 77:  # more than the server reads at all: the protocol's own way to say so
                try:
                    bad.send(bytes(3 * BYTES))
                    bad.recv(60)
                    raise AssertionError("a message of three times the limit was read")
                except ConnectionClosed as closed:
                    assert closed.rcvd is None or closed.rcvd.code == 1009
                bad = None
                continue
            frame, words = hostile(number, rng)
            bad.send(frame)
            answer = bad.recv(60)
            if words is not None:
                assert isinstance(answer, str), (number, frame[:80])
                assert any(word in answer for word in words.split("|") if word) or words in answer, (number, words, answer)
            if isinstance(answer, str):
                assert "\n" not in answer and "Traceback" not in answer and "server failed" not in answer and len(answer) < 1500, answer
            if number % 10 == 0:
                observation = observe("t/grid", rng)
                assert good.act(observation) == policy.act(observation)
        # The hostile session goes on too.
        bad.send(wire.pack({"opengato": "reset", "task": "t/hand"}))
        assert wire.unpack(bad.recv(60))["task"] == "t/hand"
        bad.send(wire.pack(observe("t/hand", rng)))
        assert set(wire.unpack(bad.recv(60))["actions"]) == {"fingers", "wrist"}
        bad.close()
        good.close()
        server.until(
            lambda s: s._places == 0 and len(s.service.batcher._free) == len(s.service.engine.slots)
        )  # nothing was lost on the way
        text = server.server.service.metrics.text().decode()
        assert 'errors_total{kind="internal"} 0.0' in text and "opengato_sessions 0.0" in text and "opengato_queue_length 0.0" in text


def test_every_fault_is_answered_by_one_sentence(checkpoint):
    with running(checkpoint, limits=Limits(message_bytes=BYTES)) as server, connect(server.url, max_size=None) as bad:
        bad.recv(60)
        bad.send(wire.pack({"opengato": "reset", "task": "t/hand"}))
        bad.recv(60)
        for name, (frame, words) in RAW.items():
            bad.send(frame)
            answer = bad.recv(60)
            assert isinstance(answer, str) and any(word in answer for word in words.split("|")), (name, answer)
        for name, (value, words) in JOINTS.items():
            bad.send(wire.pack({"joints": value, "touch": np.zeros(3, np.int8)}))
            answer = bad.recv(60)
            assert isinstance(answer, str) and words in answer, (name, answer)
        bad.send(wire.pack({"joints": [0.5, 1], "touch": [0, 1, 0]}))
        assert isinstance(bad.recv(60), bytes)


def test_hundreds_of_hostile_messages_hurt_nobody(checkpoint):
    attack(checkpoint, 300)


@pytest.mark.slow
def test_ten_thousand_hostile_messages_hurt_nobody(checkpoint):
    attack(checkpoint, 10_000)


def test_what_is_no_http_is_turned_away(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint) as server, Client(server.url) as good:
        good.reset("t/grid")
        for number in range(30):
            with sockets.create_connection(("127.0.0.1", server.server.port)) as raw:
                if number % 3:
                    raw.sendall(rng.bytes(50) + b"\r\n\r\n" if number % 3 == 1 else b"GET / HTTP/1.1\r\nHost")
                raw.shutdown(sockets.SHUT_WR)
                raw.settimeout(60)
                assert raw.recv(1000)[:12] in (b"", b"HTTP/1.0 400", b"HTTP/1.1 400")
        assert isinstance(good.act(observe("t/grid", rng)), int)


def test_clients_that_ask_and_vanish_free_their_seats(checkpoint):
    rng = np.random.default_rng(0)
    with running(checkpoint, limits=Limits(sessions=4)) as server:
        for number in range(20):
            try:
                client = connect(server.url)
            except Exception:  # all seats taken until the server has seen the others go
                server.until(lambda s: s._places == 0)
                client = connect(server.url)
            client.recv(60)
            for _ in range(3):
                client.send(wire.pack({"opengato": "act", "observation": observe("t/hand", rng)} if number % 2 else {"task": "t/hand"}))
            client.send(wire.pack(observe("t/hand", rng) | {"task": "t/hand"}))
            client.socket.shutdown(sockets.SHUT_RDWR)
        server.until(lambda s: s._places == 0 and len(s.service.batcher._free) == len(s.service.engine.slots))


def test_arrays_travel_as_they_are_and_nothing_is_unpickled():
    message = {
        "a": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
        "b": np.float32(0.5),
        "c": np.array(True),
        "d": ["x", None, 1.5, b"y", np.zeros((0, 3))],
        "e": np.array(["ä", "bc"]),
        "f": np.array([1], ">u8"),
    }
    back = wire.unpack(wire.pack(message))
    for key in "abcef":
        assert back[key].dtype == message[key].dtype and back[key].shape == message[key].shape and (back[key] == message[key]).all()
    assert back["d"][:4] == message["d"][:4] and back["d"][4].shape == (0, 3)
    for bad in (np.array([object()]), np.zeros(2, complex), np.zeros(1, [("x", int)]), object(), 2**70):
        with pytest.raises(OpenGatoError):
            wire.pack({"x": bad})


def test_a_list_is_looked_at_before_it_becomes_an_array(tokenizer):
    """One long text among short ones made an array as wide as the long one: gigabytes from a quarter of a megabyte."""
    import tracemalloc

    from serving_helpers import HAND

    from opengato.serving.check import Checker

    checker = Checker(tokenizer, 100, 50)
    tracemalloc.start()
    with pytest.raises(OpenGatoError, match="joints is a list of 2001"):
        checker.observation(HAND, {"joints": ["x"] * 2000 + ["y" * 20_000], "touch": [0, 0, 0]})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_long_names_are_written_out_only_for_an_error():
    """Key by key, the path of each entry was built: long keys times many entries."""
    import tracemalloc

    deep = {"k" * 100_000: {"l" * 100_000: [0] * 4000}}
    data = wire.pack(deep)
    tracemalloc.start()
    assert wire.unpack(data) == deep
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21
    with pytest.raises(OpenGatoError, match=r"of field k+… is no text"):
        wire.unpack(msgpack.packb({"k" * 100_000: {b"x": 1}}))


def test_a_list_is_read_to_its_end():
    """A list of plain values is passed on as it is; one with anything else in it is gone through, wherever that lies."""
    plain = [0, 1.5, None, True, "x", b"y"] * 100
    assert wire.unpack(wire.pack({"x": plain, "y": [*plain, np.arange(3)]}))["x"] == plain
    assert (wire.unpack(wire.pack({"y": [*plain, np.arange(3)]}))["y"][-1] == np.arange(3)).all()
    with pytest.raises(OpenGatoError, match=r"x\.600"):
        wire.unpack(msgpack.packb({"x": [*plain, array(shape=(4,))]}))


def test_a_server_of_hundreds_of_tasks_can_say_so(tokenizer):
    from serving_helpers import build

    from opengato.tokens.layout import Layout

    wide = Layout(spaces.MultiDiscrete(np.arange(2, 502)), spaces.Discrete(7))
    layouts = {f"t/{i:03}": wide for i in range(160)}
    with running(build(tokenizer, layouts)) as server, Client(server.url) as client:
        assert sorted(client.metadata["tasks"]) == sorted(layouts)
        client.reset("t/007")
        assert client.act(np.ones(500, np.int64)) in range(7)


def test_silent_connections_make_way(checkpoint):
    with running(checkpoint, limits=Limits(sessions=2, chats=0)) as server, Client(server.url) as good:
        good.reset("t/arm")
        silent = [sockets.create_connection(("127.0.0.1", server.server.port)) for _ in range(200)]
        with Client(server.url) as late:  # the oldest silent ones were ended for it
            late.reset("t/arm")
            assert late.act(np.zeros(3, np.float32)).shape == good.act(np.zeros(3, np.float32)).shape
        assert len(server.server.door._open) <= server.server.door._most
        silent[0].settimeout(60)
        assert silent[0].recv(1) == b""
        for one in silent:
            one.close()


def test_who_only_gives_signs_of_life_loses_the_seat(checkpoint):
    with running(checkpoint, limits=Limits(sessions=1, idle=0.3)) as server:
        with connect(server.url, ping_interval=0.05) as idle:
            idle.recv(60)
            with pytest.raises(ConnectionClosed) as closed:
                idle.recv(60)
            assert closed.value.rcvd.code == 1008 and "no message came" in closed.value.rcvd.reason
        server.until(lambda s: s._places == 0)
        Client(server.url).close()


def test_a_message_that_does_not_end_is_not_waited_for(checkpoint):
    with running(checkpoint, limits=Limits(unfinished=0.2)) as server, connect(server.url, close_timeout=0) as slow:
        slow.recv(60)
        slow.socket.sendall(b"\x82\xff" + struct.pack(">Q", 10**6) + bytes(4) + bytes(10_000))
        with pytest.raises(ConnectionClosed):
            slow.recv(60)
        server.until(lambda s: s._places == 0)


def test_unfinished_messages_together_are_bounded(checkpoint):
    limits = Limits(message_bytes=10**6, held_bytes=2 * 10**6)
    with running(checkpoint, limits=limits) as server, Client(server.url) as good:
        good.reset("t/arm")
        holders = [connect(server.url, close_timeout=0) for _ in range(8)]
        for holder in holders:
            holder.recv(60)
            holder.socket.sendall(b"\x82\xff" + struct.pack(">Q", 10**6) + bytes(4) + bytes(900_000))
        server.until(lambda s: s._places <= 3)  # the good one, and what fits
        assert server.server.door._held <= 2 * 10**6
        assert good.act(np.zeros(3, np.float32)).shape == (2,)
        for holder in holders:
            holder.socket.close()


def test_refused_senders_wait_in_one_line_and_others_do_not(checkpoint):
    """However many send nonsense, what is refused takes a bounded share of the loop: the pauses of all do not overlap."""
    import asyncio

    from opengato.serving.limits import Penance

    async def line():
        penance, loop = Penance(), asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*[penance.pay(0.001) for _ in range(20)])
        return loop.time() - started

    assert asyncio.run(line()) >= 20 * 10 * 0.001  # ten times what twenty of them took


def test_little_is_logged():
    import logging

    from opengato.serving.limits import Seldom

    now = [0.0]
    seldom = Seldom(lambda: now[0])
    records = []
    for _ in range(5000):  # a thousand a second
        record = logging.LogRecord("x", logging.ERROR, "", 0, "bad %d", (1,), None)
        if seldom.filter(record):
            records.append(record.getMessage())
        now[0] += 0.001
    assert len(records) <= 6 and records[0] == "bad 1" and records[1].endswith("records before it were left out)")
    assert seldom.filter(logging.LogRecord("x", logging.CRITICAL, "", 0, "dead", (), None))


@pytest.mark.slow
def test_every_attack_at_once_costs_little_memory_and_no_answers(checkpoint, tmp_path, monkeypatch):
    """The times of the good client are shown by `benchmarks/serve.py --hostile`, whose attackers these are."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from serve import hostile as under_attack

    checkpoint.save(tmp_path)
    result = under_attack(tmp_path, 20.0, "cpu")
    assert result["exit_status"] == 0 and result["requests_alone_and_attacked"][1] > 0
    assert result["memory_grown_mb"] <= 200 and result["log_records_per_s"] <= 1
    assert {"access", "chat", "connection", "task", "observation"} & set(result["refused"]) and "internal" not in result["refused"]
