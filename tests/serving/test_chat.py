"""OpenAI's endpoints, with OpenAI's client: the same words as a Policy that had the conversation, streamed or not; clear errors."""

import base64
import io
import json
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

from PIL import Image
from serving_helpers import ANSWER, ARM, LAYOUTS, Gate, build, running

from opengato.datasets.photographs import read_image
from opengato.episode import Episode
from opengato.policy.policy import Policy
from opengato.serving import chat
from opengato.serving.limits import Limits

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)


def png():
    data = io.BytesIO()
    Image.fromarray(PIXELS).save(data, "PNG")
    return data.getvalue()


def uri(data=None, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(png() if data is None else data).decode()}"


def image_part(url=None):
    return {"type": "image_url", "image_url": {"url": url or uri()}}


def text_part(text):
    return {"type": "text", "text": text}


@pytest.fixture
def openai_client(server):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=f"http://{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def greedy(checkpoint, task, observation, prompt=None):
    policy = Policy(checkpoint, temperature=0.0)
    policy.reset(task, prompt)
    return policy.act(observation)


def test_models(openai_client):
    assert [model.id for model in openai_client.models.list()] == ["opengato"]
    assert openai_client.models.retrieve("opengato").object == "model"


def test_a_conversation_is_remembered(checkpoint, openai_client):
    def say(messages, **settings):
        return openai_client.chat.completions.create(model="opengato", messages=messages, temperature=0, **settings)

    first = say([{"role": "user", "content": "hello"}])
    assert first.object == "chat.completion" and first.choices[0].message.role == "assistant"
    said = first.choices[0].message.content
    assert said == greedy(checkpoint, "dialogue/chitchat", "hello")
    assert first.choices[0].finish_reason in ("stop", "length") and first.usage.completion_tokens > 0
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [text_part("hello"), text_part("there")]},
        {"role": "assistant", "content": "good day"},
        {"role": "user", "content": "who are you"},
    ]
    prompt = Episode(["be kind\nhello\nthere"], ["good day"], np.zeros(1, np.float32), "dialogue/chitchat")
    second = say(messages)
    assert second.choices[0].message.content == greedy(checkpoint, "dialogue/chitchat", "who are you", prompt)
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    # Of a conversation longer than the memory the last turns are remembered.
    long = [{"role": role, "content": f"{role} {i} {'words ' * 6}"} for i in range(40) for role in ("user", "assistant")]
    assert say([*long, {"role": "user", "content": "who are you"}]).usage.prompt_tokens < 128
    # Sampled words are those of the seed.
    words = {say(messages[1:], seed=3, extra_body={"temperature": 1.5}).choices[0].message.content for _ in range(2)}
    assert len(words) == 1


def test_a_stream_says_what_the_whole_says(openai_client):
    messages = [{"role": "user", "content": "hello"}]
    for most in (5, 1000):
        whole = openai_client.chat.completions.create(model="opengato", messages=messages, temperature=0, max_tokens=most)
        stream = openai_client.chat.completions.create(
            model="opengato", messages=messages, temperature=0, max_tokens=most, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
        assert chunks[-1].usage == whole.usage and chunks[0].choices[0].delta.role == "assistant"
        assert whole.usage.completion_tokens <= most and len({c.id for c in chunks}) == 1


def test_images_are_captioned_and_asked_about(checkpoint, tokenizer, openai_client):
    def ask(client, *parts):
        messages = [{"role": "user", "content": list(parts)}]
        return client.chat.completions.create(model="opengato", messages=messages).choices[0].message.content

    caption = greedy(checkpoint, "captions/emoji", {"image": read_image(png())})
    assert ask(openai_client, image_part()) == caption
    assert ask(openai_client, image_part(), text_part("what is it")) == caption  # no task takes questions
    openai = pytest.importorskip("openai")
    knowing = build(tokenizer, LAYOUTS | {"vqa/test": ANSWER})
    with running(knowing) as server, openai.OpenAI(base_url=f"http://{server.address}/v1", api_key="none") as client:
        answer = greedy(knowing, "vqa/test", {"image": read_image(png(), 32), "question": "what is it"})
        assert ask(client, text_part("what is it"), image_part()) == answer
        assert ask(client, image_part()) == greedy(knowing, "captions/emoji", {"image": read_image(png())})


def post(server, body, content_type="application/json", path="/v1/chat/completions"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{server.address}{path}", data, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error"]


def user(content):
    return [{"role": "user", "content": content}]


def bomb():
    """A PNG header of 8,000 × 8,000 pixels."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 8000, 8000, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + struct.pack(">I", 0) + b"IDAT"


def scans():
    """A small progressive JPEG whose last scan comes a thousand times."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(PIXELS).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * 1000 + whole[-2:]


@given(st.lists(st.tuples(st.sampled_from([b"x", b"[", b"{", b",", b"\\"]), st.integers(0, 40_000)), max_size=8))
def test_brackets_are_counted_until_they_are_too_many(runs):
    data = b"".join(sign * count for sign, count in runs)
    assert (chat._parts(data) > chat.PARTS) == (sum(map(data.count, b"[{,\\")) > chat.PARTS)
    assert chat._parts(data) <= chat.PARTS + chat._AT_A_TIME


BAD = [
    (b"{", "no JSON"),
    (b"[" * 60_000, "no JSON"),
    (b"[]" + b",[]" * 50_000, "more than 65536 brackets, commas and escapes"),
    (b"\xff", "no JSON"),
    ([], "no JSON object"),
    ({"messages": user("hi")}, "there is no model"),
    ({"model": "gpt-4", "messages": user("hi")}, "it is 'opengato'"),
    ({"model": "opengato"}, "'messages' is no list"),
    ({"model": "opengato", "messages": []}, "'messages' is no list"),
    ({"model": "opengato", "messages": ["hi"]}, "messages[0] is hi"),
    ({"model": "opengato", "messages": [{"role": "tool", "content": "x"}]}, "has role 'tool'"),
    ({"model": "opengato", "messages": [{"role": "assistant", "content": "x"}]}, "the last message is the assistant's"),
    ({"model": "opengato", "messages": user("")}, "the last message is empty"),
    ({"model": "opengato", "messages": user(None)}, "content None"),
    ({"model": "opengato", "messages": user([{"type": "input_audio"}])}, "a part of type input_audio"),
    ({"model": "opengato", "messages": user([image_part("https://example.org/x.png")])}, "fetches nothing"),
    ({"model": "opengato", "messages": user([image_part("data:image/png;base64,%%%")])}, "base64 cannot be read"),
    ({"model": "opengato", "messages": user([image_part(uri(b"no image"))])}, "the image cannot be read"),
    ({"model": "opengato", "messages": user([image_part(uri(png()[:300]))])}, "the image cannot be read"),
    ({"model": "opengato", "messages": user([image_part(uri(bomb()))])}, "send a smaller one"),
    ({"model": "opengato", "messages": user([image_part(), image_part()])}, "has 2 images"),
    ({"model": "opengato", "messages": user("\ud800")}, "lone surrogate"),
    (
        {"model": "opengato", "messages": [*user("a\udfff"), {"role": "assistant", "content": "x"}, *user("hi")]},
        "messages[0] has a lone surrogate at character 1",
    ),
    ({"model": "opengato", "messages": user([image_part(uri(scans(), "image/jpeg"))])}, "more than 32 scans"),
    ({"model": "opengato", "messages": user("hi"), "tool_choice": "required"}, "'tool_choice' is required"),
    ({"model": "opengato", "messages": user("hi"), "logit_bias": {"5": 1}}, "'logit_bias' is a dict of 1"),
    ({"model": "opengato", "messages": user("x" * 5000)}, "5000 characters where 4096 are allowed"),
    ({"model": "opengato", "messages": user("a b " * 200)}, "tokens long where 64 fit"),
    ({"model": "opengato", "messages": user("hi"), "n": 2}, "'n' is 2, which this server does not support"),
    ({"model": "opengato", "messages": user("hi"), "tools": [{}]}, "'tools' is a list of 1"),
    ({"model": "opengato", "messages": user("hi"), "temperature": "hot"}, "'temperature' is hot"),
    ({"model": "opengato", "messages": user("hi"), "max_tokens": 0}, "'max_tokens' is 0"),
    ({"model": "opengato", "messages": user("hi"), "stream": 1}, "'stream' is 1"),
]


def test_errors_are_in_openais_format(server, tokenizer):
    for body, sentence in BAD:
        status, error = post(server, body)
        assert status in (400, 404) and set(error) == {"message", "type", "param", "code"}, error
        assert error["type"] == "invalid_request_error" and sentence in error["message"] and "\n" not in error["message"], error
    status, error = post(server, {"model": "opengato", "messages": user("hi")}, content_type="text/plain")
    assert status == 400 and "send application/json" in error["message"]
    assert post(server, {}, path="/v1/embeddings")[0] == 404
    assert post(server, {"model": "opengato", "messages": user("hi")})[0] == 200
    with running(build(tokenizer, {"t/arm": ARM}), limits=Limits(message_bytes=2000)) as blind:
        for content, sentence in (
            ("hi", "not trained on dialogue/chitchat"),
            ([image_part(uri(png()[:99]))], "no task that puts an image"),
        ):
            status, error = post(blind, {"model": "opengato", "messages": user(content)})
            assert status == 400 and sentence in error["message"] and "t/arm" in error["message"]
        status, error = post(blind, {"model": "opengato", "messages": user("x" * 3000)})
        assert status == 413 and error["message"]
    with running(build(tokenizer, LAYOUTS), limits=Limits(chats=0)) as closed:
        assert post(closed, {"model": "opengato", "messages": user("hi")})[0] == 503


def test_what_changes_nothing_is_taken(server):
    messages = [*user("hello"), {"role": "assistant", "content": None}, *user("hi")]
    neutral = {
        "tool_choice": "none",
        "logit_bias": {},
        "tools": [],
        "parallel_tool_calls": True,
        "n": 1,
        "response_format": {"type": "text"},
    }
    asked = {"model": "opengato", "messages": messages, "temperature": 0}
    status, answer = post(server, asked | neutral)
    assert status == 200, answer
    said = answer["choices"][0]["message"]["content"]
    silent = [*user("hello"), {"role": "assistant", "content": ""}, *user("hi")]
    assert said == post(server, asked | {"messages": silent})[1]["choices"][0]["message"]["content"]


def test_a_compressed_or_endless_body_is_refused_unread(checkpoint):
    import gzip

    with running(checkpoint, limits=Limits(message_bytes=2**16, unfinished=0.2)) as server:
        url = f"http://{server.address}/v1/chat/completions"
        for encoding in ("gzip", "deflate", "br"):
            headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(url, gzip.compress(bytes(2**20)), headers))
            assert refused.value.code == 415 and b"compressed" in refused.value.read()
        with socket.create_connection(("127.0.0.1", server.server.port)) as raw:  # its body never ends, and takes nobody's place
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {server.address}\r\nContent-Type: application/json\r\n"
            raw.sendall(f"{head}Content-Length: 5000\r\n\r\n{{".encode())
            assert post(server, {"model": "opengato", "messages": user("hi")})[0] == 200
            raw.settimeout(60)
            assert raw.recv(1000).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("stream", [False, True])
def test_stopping_finishes_a_chat_that_was_begun(checkpoint, stream):
    answers = []
    with running(checkpoint) as server:
        gate = Gate(server)
        body = {"model": "opengato", "messages": user("hello"), "temperature": 0, "stream": stream}
        url, headers = f"http://{server.address}/v1/chat/completions", {"Content-Type": "application/json"}

        def ask():
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
                answers.append(answer.read().decode())

        asking = threading.Thread(target=ask)
        asking.start()
        gate.entered.acquire()
        server.stop()
        server.until(lambda s: s.service.closing)
        gate.open.release()
        asking.join(60)
    said = greedy(checkpoint, "dialogue/chitchat", "hello")
    if stream:
        *events, done = [line[6:] for line in answers[0].splitlines() if line]
        assert done == "[DONE]"
        assert "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events) == said
    else:
        assert json.loads(answers[0])["choices"][0]["message"]["content"] == said


def test_a_client_that_goes_away_gives_its_chat_back(checkpoint):
    with running(checkpoint, limits=Limits(chats=1)) as server:
        gate = Gate(server)
        body = json.dumps({"model": "opengato", "messages": user("hello")}).encode()
        with socket.create_connection(("127.0.0.1", server.server.port)) as raw:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {server.address}\r\nContent-Type: application/json\r\n"
            raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            gate.entered.acquire()
            assert post(server, {"model": "opengato", "messages": user("hi")})[0] == 503
        server.until(lambda s: not s.service.chats)
        gate.open.release(2)
        assert post(server, {"model": "opengato", "messages": user("hi")})[0] == 200
        server.until(lambda s: len(s.service.batcher._free) == len(s.service.engine.slots))
