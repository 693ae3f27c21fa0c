"""Texts, code, HTML and conversations in their public layouts, damaged records and files among them, from disk and from elsewhere."""

import gzip
import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from opengato.datasets.markup import Figure, page_text, read_page
from opengato.datasets.open import find_dataset, open_dataset, weight_of
from opengato.errors import OpenGatoError
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import IS_TARGET

TOKENIZER = TextTokenizer.load()
FINEWEB = {"id": "<urn:uuid:0>", "dump": "CC-MAIN-2013-20", "url": "http://a.org", "date": "2013-05-18T05:48:54Z", "file_path": "s3://x"}
FINEWEB |= {"language": "en", "language_score": 0.92, "token_count": 3}
DOLMA = {"id": "0", "added": "2023-05-12", "created": "2015", "source": "c4", "metadata": {"url": "http://a.org"}, "attributes": {}}
C4 = {"timestamp": "2019-04-25T12:57:54Z", "url": "https://a.org"}


def read(name, skip=0):
    """The actions of a dataset, by way of the token store."""
    data = open_dataset(name, TOKENIZER, cache=None, skip_bad=skip)
    return data, [TOKENIZER.decode(e[e != TOKENIZER.eos]) for e in (_words(data, n) for n in range(len(data)))]


def _words(data, episode):
    encoded = data.gather(np.arange(data.episodes[episode], data.episodes[episode + 1]))
    return encoded.tokens[encoded.kinds >= IS_TARGET]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))


def lines(path, records):
    with gzip.open(path, "wt") if path.name.endswith(".gz") else open(path, "w") as file:
        for record in records:
            file.write((record if isinstance(record, str) else json.dumps(record)) + "\n")
    return path


def test_texts_as_fineweb_dolma_and_c4_have_them(tmp_path):
    (tmp_path / "a.txt").write_text("first\n\nsecond, ünï")
    lines(tmp_path / "b.json.gz", [C4 | {"text": "third"}, C4 | {"text": "  "}, C4 | {"text": "fourth"}])
    lines(tmp_path / "c.jsonl", [DOLMA | {"text": "fifth"}])
    parquet.write_table(pa.table({k: [v] * 2 for k, v in FINEWEB.items()} | {"text": ["sixth", "seventh"]}), tmp_path / "d.parquet")
    name = "text:" + ",".join(str(tmp_path / f) for f in ("a.txt", "b.json.gz", "c.jsonl", "d.parquet"))
    data, texts = read(name)
    assert texts == ["first\n\nsecond, ünï", "third", "fourth", "fifth", "sixth", "seventh"] and data.task == "text/a"
    assert read(f"text:{tmp_path}")[1] == texts and read(f"text:{tmp_path}/*")[1] == texts


def test_a_bad_record_is_named_and_left_out_up_to_a_share(tmp_path, capsys):
    records = [DOLMA | {"text": f"text {n}"} for n in range(17)]
    path = lines(tmp_path / "web.jsonl", [records[0], '{"text": "cut of', *records[1:], DOLMA | {"text": None}, "[1]"])
    with pytest.raises(OpenGatoError, match=r"web\.jsonl, line 2: Invalid control character"):
        read(f"text:{path}")
    with pytest.raises(OpenGatoError, match=r"3 of 20 samples cannot be read, more than a share of 0\.1 .*web\.jsonl, line 2"):
        read(f"text:{path}", 0.1)
    data, texts = read(f"text:{path}", 0.15)
    assert texts == [f"text {n}" for n in range(17)] and data.skipped == 3
    assert "3 of 20 samples cannot be read and are left out" in capsys.readouterr().err
    missing = lines(tmp_path / "missing.jsonl", [{"content": "x"}])
    with pytest.raises(OpenGatoError, match=r"line 1: no field 'text'"):
        read(f"text:{missing}")


def test_a_bad_file_stops_with_its_name(tmp_path):
    whole = tmp_path / "whole.jsonl.gz"
    lines(whole, [{"text": str(n) * 300} for n in range(2000)])
    (tmp_path / "cut.jsonl.gz").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "none.parquet").write_bytes(b"PAR1 and nothing else")
    parquet.write_table(pa.table({"body": ["x"]}), tmp_path / "other.parquet")
    for file, wrong in (("cut.jsonl.gz", "EOFError"), ("none.parquet", "Parquet"), ("other.parquet", "columns body: .* called text")):
        with pytest.raises(OpenGatoError, match=rf"{file}.*{wrong}"):
            read(f"text:{tmp_path / file}", 0.9)
    for name, wrong in (("text:nowhere.txt", "no file nowhere.txt: give text:FILE"), ("text:gopher://x/y.txt", "gopher")):
        with pytest.raises(OpenGatoError, match=wrong):
            find_dataset(name)
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(OpenGatoError, match=r"a\.doc is no text that can be read"):
        find_dataset(f"text:{tmp_path / 'a.doc'}")


def test_files_from_elsewhere(tmp_path):
    memory = fsspec.filesystem("memory")
    table = lines(tmp_path / "x.jsonl.gz", [{"text": "from afar"}])
    memory.pipe("/corpus/x.jsonl.gz", table.read_bytes())
    memory.pipe("/corpus/y.txt", b"and another")
    assert read("text:memory://corpus/x.jsonl.gz")[1] == ["from afar"]
    assert read("text:memory://corpus")[1] == ["from afar", "and another"]
    before = find_dataset("text:memory://corpus").fingerprint
    memory.pipe("/corpus/y.txt", b"and another one")
    assert find_dataset("text:memory://corpus").fingerprint != before


def test_source_code(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "a.py").write_text("def f():\n    return 1\n")
    (tmp_path / "pkg" / "b.c").write_text("int x;\n")
    (tmp_path / "pkg" / "readme.md").write_text("no code")
    (tmp_path / "pkg" / "latin.py").write_bytes(b"# caf\xe9\n")
    with pytest.raises(OpenGatoError, match=r"latin\.py: 'utf-8' codec"):
        read(f"code:{tmp_path / 'pkg'}")
    assert read(f"code:{tmp_path / 'pkg'}", 0.5)[1] == ["def f():\n    return 1\n", "int x;\n"]
    parquet.write_table(pa.table({"content": ["x = 1\n"], "lang": ["Python"], "size": [6]}), tmp_path / "stack.parquet")
    lines(tmp_path / "stack.jsonl", [{"content": "y = 2\n", "max_stars_repo_path": "a.py"}])
    data, texts = read(f"code:{tmp_path / 'stack.parquet'},{tmp_path / 'stack.jsonl'}")
    assert texts == ["x = 1\n", "y = 2\n"] and data.task == "text/stack"


PAGE = """<!DOCTYPE html><html><head><title>t</title><style>p {}</style></head><body><nav>menu <p>more menu</p></nav>
<h1>A &amp; B</h1><p>one <b>two</b>
 three<p>four<img src="a%20b.png" alt="x">five<script>var x = "<p>no</p>";</script><img src="data:image/png;base64,xx">
<pre>  for x:
    y</pre><ul><li>six<li>seven</ul><footer>copyright</footer></body></html>"""


def test_html(tmp_path):
    texts = ["A & B\none two three\nfour", "five\n  for x:\n    y\nsix\nseven"]
    assert read_page(PAGE) == [texts[0], Figure("a%20b.png"), texts[1]]
    assert page_text("<p>unclosed <i>tag") == "unclosed tag" and page_text("") == "" and page_text("a < b & c") == "a < b & c"
    assert page_text("<head><title>x</title><body><p>a head that is not closed") == "a head that is not closed"
    (tmp_path / "site" / "sub").mkdir(parents=True)
    (tmp_path / "site" / "sub" / "page.html").write_text(PAGE)
    (tmp_path / "site" / "empty.html").write_text("<html><body></body></html>")
    with pytest.raises(OpenGatoError, match=r"empty\.html: the page has no words"):
        read(f"html:{tmp_path / 'site'}")
    assert read(f"html:{tmp_path / 'site'}", 0.5)[1] == ["\n".join(texts)]


def test_conversations(tmp_path):
    say = [{"role": r, "content": c} for r, c in zip(["system", "user", "assistant", "user", "user", "assistant", "user"], "sabcdef")]
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        {"role": "assistant", "content": "z"},
    ]
    first = [{"role": "assistant", "content": "hello"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "bye"}]
    bad = [
        {"messages": [{"role": "user", "content": "alone"}]},
        {"messages": [{"role": "tool", "content": "1"}]},
        {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "z"}]},
        {"conversations": []},
    ]
    path = lines(tmp_path / "chat.jsonl", [{"messages": m} for m in (say, parts, first)] + bad)
    episodes = list(find_dataset(f"chat:{path}").episodes())
    turns = [(e.observations, e.actions) for e in episodes[:3]]
    assert turns == [(["s\na", "c\nd"], ["b", "e"]), (["x\ny"], ["z"]), (["", "hi"], ["hello", "bye"])]
    for episode, wrong in zip(
        episodes[3:], ("no assistant", "role 'tool'", "message 0 has content that is no text", "no field 'messages'")
    ):
        with pytest.raises(OpenGatoError, match=rf"chat\.jsonl, line \d: .*{wrong}"):
            np.asarray(episode.observations)
    data, _ = read(f"chat:{path}", 0.6)
    assert data.task == "dialogue/chat" and len(data) == 3 and data.timesteps == 5


def test_weights_are_read_off_the_end_of_names():
    assert weight_of("coco:a.json,images/@0.67") == ("coco:a.json,images/", 0.67)
    assert weight_of("text:me@home.txt") == ("text:me@home.txt", None) and weight_of("text/plain") == ("text/plain", None)
    assert weight_of("text:me@home.txt@2") == ("text:me@home.txt", 2.0)
    with pytest.raises(OpenGatoError, match="the weight of dataset 'text/plain' is -1"):
        weight_of("text/plain@-1")
