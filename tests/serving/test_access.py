"""Who comes in, what the HTTP addresses say, openpi's own client, and the command from its first to its last line."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")
connect = pytest.importorskip("websockets.sync.client").connect

from serving_helpers import ARM, build, observe, running  # noqa: E402
from websockets.exceptions import InvalidStatus  # noqa: E402

from opengato.client import Client  # noqa: E402
from opengato.errors import OpenGatoError  # noqa: E402
from opengato.policy.policy import Policy  # noqa: E402
from opengato.serving.limits import Limits  # noqa: E402

TOKEN = "a-token-of-this-test"


def get(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics(server):
    base = f"http://{server.address}"
    assert get(f"{base}/healthz") == (200, "OK\n")
    status, text = get(f"{base}/metrics")
    assert status == 200
    for name in ("requests_total", "errors_total", "batch_size_bucket", "latency_seconds_bucket", "sessions", "queue_length"):
        assert f"\nopengato_{name}" in text
    status, text = get(base)
    assert status == 426 and "websocket" in text
    assert get(f"{base}/nowhere")[0] == 404


def test_a_token_opens_the_door_and_nothing_else_does(checkpoint):
    with running(checkpoint, token=TOKEN, task="t/arm") as server:
        base = f"http://{server.address}"
        assert get(f"{base}/healthz")[0] == 200
        for path in ("/metrics", "/v1/models", "/"):
            for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}, {"Authorization": "Bearer ümlaut"}):
                status, text = get(base + path, **{k: v.encode().decode("latin-1") for k, v in headers.items()})
                assert status == 401 and "Authorization" in text
        for scheme in ("Bearer", "Api-Key"):
            assert get(f"{base}/metrics", Authorization=f"{scheme} {TOKEN}")[0] == 200
            with connect(server.url, additional_headers={"Authorization": f"{scheme} {TOKEN}"}) as socket:
                assert socket.recv(60)
        with pytest.raises(InvalidStatus):
            connect(server.url)
        with pytest.raises(OpenGatoError, match="refused the connection: the token is missing or wrong"):
            Client(server.url)
        with Client(server.url, token=TOKEN) as client:
            assert ARM.action_space.contains(client.act(observe("t/arm", np.random.default_rng(0))))
        assert 'errors_total{kind="access"} 14.0' in server.server.service.metrics.text().decode()


def test_pages_of_other_sites_do_not_steer(server):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[:"},
        {"Host": "[::"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        assert get(f"http://{server.address}/v1/models", **headers)[0] == 403
    with pytest.raises(InvalidStatus):
        connect(server.url, origin="http://evil.example")
    with connect(server.url, origin=f"http://{server.address}") as socket:
        assert socket.recv(60)


def test_other_addresses_need_a_token_and_a_token_must_be_one(checkpoint, tmp_path):
    from opengato.serving.access import read_token

    with pytest.raises(OpenGatoError, match="can be reached from other machines"):
        running(checkpoint, host="0.0.0.0").__enter__()
    file = tmp_path / "token"
    with pytest.raises(OpenGatoError, match="cannot be read"):
        read_token(file)
    for bad in ("", "short", "a token with spaces in it"):
        file.write_text(bad)
        with pytest.raises(OpenGatoError, match="holds no token of at least 16"):
            read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    for settings, sentence in (
        ({"limits": Limits(queue=0)}, "queue is 0: it must be at least 1"),
        ({"max_text": 0}, "max_text is 0"),
        ({"limits": Limits(rate=float("nan"))}, "rate is nan: it must be at least"),
        ({"limits": Limits(rate=float("inf"))}, "rate is inf: it must be at most"),
        ({"limits": Limits(sessions=100_000_000)}, "sessions is 100000000: it must be at most 4096"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"horizon": 16}, "horizon is 16: it must be at most 15"),
        ({"port": 70_000}, "cannot listen on"),
    ):
        with pytest.raises(OpenGatoError, match=sentence):
            running(checkpoint, **settings).__enter__()
    with running(checkpoint) as server, pytest.raises(OpenGatoError, match="cannot listen on"):
        running(checkpoint, port=server.server.port).__enter__()


def command(*arguments):
    return [sys.executable, "-m", "opengato", "serve", *map(str, arguments)]


def test_the_command_serves_until_it_is_asked_to_stop(tokenizer, tmp_path):
    checkpoint = build(tokenizer, {"t/arm": ARM})
    checkpoint.save(tmp_path / "checkpoint")
    (tmp_path / "token").write_text(TOKEN)
    done = subprocess.run(command(tmp_path / "checkpoint", "--host", "0.0.0.0"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "give a --token-file" in done.stderr and "Traceback" not in done.stderr
    arguments = command(tmp_path / "checkpoint", "--port", 0, "--token-file", tmp_path / "token")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        port = int(re.search(r":(\d+) ", process.stdout.readline()).group(1))
        rng, policy = np.random.default_rng(0), Policy(checkpoint)
        policy.reset("t/arm")
        with Client(f"ws://127.0.0.1:{port}", token=TOKEN) as client:
            observation = observe("t/arm", rng)
            np.testing.assert_allclose(client.act(observation), policy.act(observation), atol=1e-6)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, process.stderr.read()
            with pytest.raises(OpenGatoError, match="the server is shutting down"):
                client.act(observation)
        assert "Traceback" not in process.stderr.read()


OPENPI_IMPORTS = """
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_client.action_chunk_broker import ActionChunkBroker
"""
OPENPI = (
    f"""{OPENPI_IMPORTS}
import json, sys
import numpy as np
"""
    + """
assert np.__version__.startswith("1.")
port, token = int(sys.argv[1]), sys.argv[2]
client = WebsocketClientPolicy("127.0.0.1", port, api_key=token)
assert "t/arm" in client.get_server_metadata()["tasks"]
rng = np.random.default_rng(0)
actions = []
broker = ActionChunkBroker(client, action_horizon=int(sys.argv[3]))
for step in range(7):
    observation = {"observation": rng.normal(size=3).astype(np.float32), "prompt": "t/arm"}
    if step < 3 and sys.argv[3] == "1":
        answer = client.infer(observation)
        assert set(answer) == {"actions", "server_timing"} and answer["actions"].shape == (1, 2), answer
        assert answer["server_timing"]["infer_ms"] > 0 and ("prev_total_ms" in answer["server_timing"]) == (step > 0)
        actions.append(answer["actions"][0].tolist())
    else:
        actions.append(broker.infer(observation)["actions"].tolist())
try:
    client.infer({"observation": np.full(3, np.nan)})
except RuntimeError as error:
    assert "the observation is nan at entry 0" in str(error), error
else:
    raise AssertionError("NaN was taken")
print(json.dumps(actions))
"""
)


@pytest.fixture(scope="module")
def openpi_python(request):
    """A Python with openpi-client, which needs a NumPy older than ours: in an environment of its own, kept between runs."""
    folder = Path(request.config.cache.mkdir("openpi-client"))
    python = folder / "bin" / "python"
    if subprocess.run([python, "-c", OPENPI_IMPORTS], capture_output=True).returncode if python.exists() else True:
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=300)
            needed = ["openpi-client==0.1.2", "typing_extensions"]  # the second it does not ask for, but imports
            subprocess.run([python, "-m", "pip", "install", "-q", *needed], check=True, capture_output=True, timeout=600)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
            pytest.skip(f"openpi-client cannot be installed: {error}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 3])
def test_openpis_own_client_acts(checkpoint, openpi_python, horizon):
    with running(checkpoint, token=TOKEN, horizon=horizon) as server:
        arguments = [openpi_python, "-c", OPENPI, str(server.server.port), TOKEN, str(horizon)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env={"PATH": "/usr/bin:/bin"})
        assert done.returncode == 0, done.stderr
    policy, rng = Policy(checkpoint), np.random.default_rng(0)
    policy.reset("t/arm")
    for step, action in enumerate(json.loads(done.stdout)):
        observation = rng.normal(size=3).astype(np.float32)
        if step % horizon == 0:
            seen = observation
        np.testing.assert_allclose(policy.act(seen), action, atol=1e-6)
