"""The mix is written as packages are laid out, read back by the same readers, and gone on with where it stopped."""

import json

import numpy as np
import pytest
from PIL import Image

from opengato.corpus import build, packages, pictures, questions, talk, texts
from opengato.datasets import splits
from opengato.datasets.open import find_dataset
from opengato.errors import OpenGatoError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """What the packages of some parts hold, a few of each."""
    folder = tmp_path / "package"
    stamps = folder / "usr/share/tuxpaint/stamps/animals/birds"
    stamps.mkdir(parents=True)
    for n in range(60):
        Image.new("RGBA", (30, 20), (n, 0, 0, 255)).save(stamps / f"{n}.png")
        (stamps / f"{n}.txt").write_text(f"Bird number {n}.\nfr.utf8=Oiseau\n")
    Image.new("RGB", (30, 20)).save(stamps / "0_mirror.png")
    (stamps / "7.png").write_bytes(b"damaged")
    wordnet = folder / "usr/share/wordnet"
    wordnet.mkdir(parents=True)
    line = '00001740 03 n 02 entity 0 living_thing 0 003 ~ 00001930 n 0000 | that which is perceived; "it was full of"  \n'
    (wordnet / "data.noun").write_text("  1 This software\n" + line)
    emoji = folder / "package/img/google/64"
    emoji.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(emoji / "a.png")
    entries = [{"name": "GRINNING FACE", "image": "a.png", "category": "Smileys"}, {"name": None, "image": "a.png", "category": "x"}]
    (folder / "package/emoji.json").write_text(json.dumps(entries))
    (folder / "package/img/twitter").symlink_to(folder / "package/img/google")
    flat = folder / "package/icons/flat"
    flat.mkdir(parents=True)
    for name in ("red-apple", "waving-hand-default", "waving-hand-medium-dark"):
        (flat / f"{name}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>')
    for side, count in (("train", 3), ("test", 1)):
        (folder / f"easy_vqa/data/{side}/images").mkdir(parents=True)
        for n in range(count):
            Image.new("RGB", (64, 64), "blue").save(folder / f"easy_vqa/data/{side}/images/{n}.png")
        asked = [["what color is the shape?", "blue", n] for n in range(count)]
        (folder / f"easy_vqa/data/{side}/questions.json").write_text(json.dumps(asked))
    pages = folder / "usr/share/gimp/2.0/help/en"
    (pages / "images").mkdir(parents=True)
    Image.new("RGB", (90, 90), "green").save(pages / "images/tool.png")
    for n in range(40):
        (pages / f"{n}.html").write_text(f'<p>page {n}</p><img src="images/tool.png"><p>a tool</p>')
    (folder / "chitchat_dataset").mkdir()
    said = [
        [{"text": f"hello, write to a.b@c.org {n}", "sender": "a"}, {"text": "yes", "sender": "b"}, {"text": "so", "sender": "a"}]
        for n in range(40)
    ]
    (folder / "chitchat_dataset/dataset.json").write_text(json.dumps({str(n): {"messages": [m]} for n, m in enumerate(said)}))
    monkeypatch.setattr(build, "unpacked", lambda *_: folder)
    return folder


def test_pictures_are_held_out_and_not_what_they_show(tmp_path):
    """Of what one vendor's drawings are held out of, most is drawn by another in training; the shipped pictures' split is the first's."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    named = [pictures.Named(tmp_path / "a.png", f"thing {n}", "") for n in range(200)]
    sides = {}
    for vendor in ("", "one", "other"):
        pictures.write_captions(named, tmp_path / f"of {vendor}", lambda: None, vendor)
        for side in ("train", "test"):
            written = json.loads((tmp_path / f"of {vendor}" / f"{side}.json").read_text())["annotations"]
            sides[vendor, side] = {entry["caption"] for entry in written}
        assert not sides[vendor, "train"] & sides[vendor, "test"] and 2 <= len(sides[vendor, "test"]) <= 20
    assert sides["", "test"] == {named.caption for named in named if splits.held_out(named.caption)}
    for one, other in (("", "one"), ("one", "other"), ("other", "")):
        assert len(sides[one, "test"] & sides[other, "train"]) > 0.7 * len(sides[one, "test"])


def test_parts_are_read_back_by_their_readers(package, tmp_path):
    wanted = ["dictionary", "stamps", "emoji", "shapes", "help", "talk", "stamps-questions"]
    told = []
    names = build.build(tmp_path / "mix", wanted, begun=lambda name: told.append(name) or (lambda: None))
    assert told == wanted
    found = {}
    for side in ("train", "test"):
        for name, spelled in zip([n for n in build.names() if n in wanted], names[side]):
            found[name, side] = list(find_dataset(spelled).episodes())
            for episode in found[name, side]:
                if isinstance(episode.observations, dict) and "image" in episode.observations:
                    np.asarray(episode.observations["image"])  # can be read
    gloss = [e.actions[0] for side in ("train", "test") for e in found["dictionary", side]]
    assert gloss == ['entity, living thing: that which is perceived; "it was full of"']
    stamps = [{e.actions[0] for e in found["stamps", side]} for side in ("train", "test")]
    assert not stamps[0] & stamps[1] and len(stamps[0] | stamps[1]) == 59 and 0 < len(stamps[1]) < 12
    assert [e.actions[0] for side in ("train", "test") for e in found["emoji", side]] == ["grinning face"]
    assert len(found["shapes", "train"]) == 3 and found["shapes", "test"][0].info["answers"] == ["blue"] * 10
    assert len(found["help", "train"]) + len(found["help", "test"]) == 40 and len(found["help", "test"]) > 0
    assert found["help", "train"][0].actions[1] == "a tool"
    heard = found["talk", "train"][0].observations
    assert "(e-mail)" in heard[0] and "@" not in heard[0] and len(found["talk", "train"]) + len(found["talk", "test"]) == 40
    asked = {(e.observations["question"][0], e.actions[0]) for e in found["stamps-questions", "train"]}
    assert (questions.KIND, "animals") in asked and {caption for q, caption in asked if q == questions.WHAT} == stamps[0]
    assert "| help | gimp-help-en 2.10.34-2 (apt) | GFDL-1.2+ |" in (tmp_path / "mix/LICENCES.md").read_text()


def test_the_same_pictures_of_other_vendors(package, tmp_path, monkeypatch):
    """Names of Twitter's are those of the package; Microsoft's are the files', one for each thing, whatever its skins."""
    drawn = []
    monkeypatch.setattr(pictures, "_draw", lambda source, target: drawn.append(source.name) or bool(target.write_bytes(b"drawn")))
    build.build(tmp_path / "mix", ["twemoji", "fluent"])
    said = {
        name: [
            entry["caption"]
            for side in ("train", "test")
            for entry in json.loads((tmp_path / "mix" / name / f"{side}.json").read_text())["annotations"]
        ]
        for name in ("twemoji", "fluent")
    }
    assert said["twemoji"] == ["grinning face"] and sorted(said["fluent"]) == ["red apple", "waving hand"]
    assert drawn == ["a.png", "red-apple.svg", "waving-hand-default.svg"]


def test_yes_and_no_are_balanced(tmp_path):
    entries = [{"id": n, "image_id": n, "caption": f"thing {n}", "kind": f"kind {n % 5}"} for n in range(2000)]
    (tmp_path / "c.json").write_text(json.dumps({"images": [], "annotations": entries}))
    said = [answer for _, question, answer in questions.of_captions(tmp_path / "c.json") if question.startswith("is it")]
    assert len(said) == 2000 and abs(said.count("yes") / 2000 - 0.5) < 0.04


def test_what_was_built_stays_and_what_was_begun_goes_on(package, tmp_path, monkeypatch):
    drawn = []
    draw = pictures._draw

    def interrupted(source, target):
        if len(drawn) == 10:
            raise KeyboardInterrupt
        drawn.append(target.name)
        return draw(source, target)

    monkeypatch.setattr(pictures, "_draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.build(tmp_path / "mix", ["talk", "stamps"])
    assert (tmp_path / "mix/talk").is_dir() and not (tmp_path / "mix/stamps").exists()
    monkeypatch.setattr(pictures, "_draw", lambda source, target: drawn.append(target.name) or draw(source, target))
    monkeypatch.setattr(talk, "write_talk", lambda *_: pytest.fail("it was there"))
    build.build(tmp_path / "mix", ["talk", "stamps"])
    assert len(set(drawn)) == 60 and len(drawn) < 63  # one of them is damaged, and tried again
    count = len(list((tmp_path / "mix/stamps/images").iterdir()))
    assert count == 59


def test_what_cannot_be_built_is_said(tmp_path, monkeypatch):
    with pytest.raises(OpenGatoError, match="unknown part of the mix 'stamp': did you mean 'stamps'"):
        build.build(tmp_path, ["stamp"])
    monkeypatch.setitem(packages._FETCH, "npm", ("no-such-program", "{name}"))
    with pytest.raises(OpenGatoError, match="needs the program 'no-such-program'"):
        packages.unpacked(build.GOOGLE, tmp_path)
    monkeypatch.setitem(packages._FETCH, "npm", ("sh", "-c", "echo no version {version} >&2; exit 1"))
    with pytest.raises(OpenGatoError, match="cannot be fetched: no version 16"):
        packages.unpacked(build.GOOGLE, tmp_path)


def test_files_of_a_package(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 2000)
    (tmp_path / "b.txt").write_text("short")
    assert [name for name, _ in texts.files_of(tmp_path, "*.txt")] == ["a"]
