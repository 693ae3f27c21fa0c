"""Captions, questions and pages in their public layouts, damaged records and files among them; pictures keep their shape."""

import hashlib
import io
import json
import math
import tarfile
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from opengato.datasets.open import find_dataset, open_dataset
from opengato.datasets.photographs import read_image
from opengato.datasets.reading import Budget, Reading
from opengato.errors import OpenGatoError
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def image(colour, kind="PNG", size=(96, 64)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def seen(picture):
    """The colour in the middle of a picture, uint8 (H, W, 3), "white" where it is empty."""
    found = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    return next((name for name, colour in COLOURS.items() if np.abs(np.int64(colour) - found).max() < 40), "white")


def told(episode):
    """What an episode shows and says, a pair a timestep; why it cannot be read, where it cannot."""
    try:
        pictures = np.asarray(episode.observations["image"] if isinstance(episode.observations, dict) else episode.observations)
    except OpenGatoError as error:
        return str(error)
    return [(seen(picture), said) for picture, said in zip(pictures, episode.actions, strict=True)]


def everything(name, reading=None):
    return [told(episode) for episode in find_dataset(name, reading).episodes()]


def fetched(address, ending=".jpg"):
    return hashlib.sha256(address.encode()).hexdigest() + ending


def test_pictures_keep_their_shape_within_a_budget():
    wide = read_image(image("red", size=(200, 50)), Budget(4, 2).size)
    assert wide.shape == (32, 64, 3)
    red = (wide == (255, 0, 0)).all(-1)
    assert red.any(0).all() and red.any(1).sum() == 16 and (wide[~red] == 255).all()  # four times as wide as high, on white
    assert (read_image(image("red", size=(32, 16)), Budget(6, 3).size) == (255, 0, 0)).all()
    assert str(Budget.parse("12x9")) == "12x9" and Budget.parse("12x9").size == (144, 192)
    with pytest.raises(OpenGatoError, match="pictures is '4': give columns and rows"):
        Budget.parse("4")
    for columns, rows in ((12, 9), (9, 12), (30, 1), (7, 7)):
        for patches in (1, 5, 20, 60, 200):
            less = Budget(columns, rows).within(patches)
            assert less.columns * less.rows <= max(patches, 1) and less.columns <= columns and less.rows <= rows
            if less.rows > 1:  # nearly as wide for its height, and no larger one is
                assert abs(less.columns - less.rows * columns / rows) <= 1
            assert less == Budget(columns, rows) or max(math.floor((less.rows + 1) * columns / rows), 1) * (less.rows + 1) > patches
    assert Budget(12, 9).within(48) == Budget(8, 6) and Budget(30, 1).within(5) == Budget(5, 1) and Budget(4, 4).within(99) == Budget(4, 4)


def coco(folder, captions=None):
    names = {7: "COCO_train2014_000000000007.jpg", 9: "000000000009.jpg"}
    listed = [{"id": n, "file_name": name, "height": 64, "width": 96, "license": 1} for n, name in names.items()]
    said = captions or [(9, " A blue picture. "), (7, "A red one.")]
    annotations = [{"id": 100 + n, "image_id": image_id, "caption": caption} for n, (image_id, caption) in enumerate(said)]
    (folder / "images" / names[7]).write_bytes(image("red", "JPEG"))
    (folder / "images" / names[9]).write_bytes(image("blue", "JPEG"))
    path = folder / "captions_train2014.json"
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": listed, "annotations": annotations}))
    return path


def test_coco(tmp_path, images):
    path = coco(tmp_path)
    name = f"coco:{path},{images}/@0.67"
    assert everything(name) == [[("blue", "A blue picture.")], [("red", "A red one.")]]
    small, large = (find_dataset(name, Reading(pictures=Budget(*budget))) for budget in ((4, 4), (9, 6)))
    assert large.observation_space["image"].shape == (96, 144, 3) and small.name != large.name
    data = open_dataset(name, TOKENIZER, reading=Reading(pictures=Budget(3, 2)))
    assert data.task == "captions/captions_train2014" and data.frames(np.arange(2))[0].shape == (2, 32, 48, 3)
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/coco/{file.name}": file.read_bytes() for file in images.iterdir()} | {"/coco/captions.json": path.read_bytes()})
    assert everything("coco:memory://coco/captions.json") == everything(name)


def test_coco_with_damage(tmp_path, images):
    path = coco(tmp_path, [(9, "a"), (8, "b"), (7, None), (7, "d")])
    (images / "COCO_train2014_000000000007.jpg").write_bytes(image("red", "JPEG")[:300])
    found = everything(f"coco:{path},{images}")
    assert found[0] == [("blue", "a")] and "annotation 101 of" in found[1] and "names image 8" in found[1]
    assert "annotation 102" in found[2] and "not text" in found[2] and "000000000007.jpg is no image that can be read" in found[3]
    data = open_dataset(f"coco:{path},{images}", TOKENIZER, skip_bad=0.75)
    assert len(data) == 1 and data.skipped == 3
    for content in ('{"images": [', '{"images": []}', "[]"):
        path.write_text(content)
        with pytest.raises(OpenGatoError, match=r"captions_train2014\.json cannot be read as COCO captions"):
            everything(f"coco:{path},{images}")


def test_conceptual_captions(tmp_path, images):
    addresses = [f"http://a.org/{n}.jpg?size=1" for n in range(4)]
    for address, colour in zip(addresses, ("red", "blue", "green")):
        (images / fetched(address)).write_bytes(image(colour, "JPEG"))
    cc3m = [f"{colour} thing\t{address}" for colour, address in zip(("a red", "a blue"), addresses)]
    cc12m = [f"{addresses[2]}\ta green thing", f"{addresses[3]}\tnot fetched", "no tab", f"{addresses[0]}\t "]
    (tmp_path / "train.tsv").write_text("\n".join([*cc3m, *cc12m]))
    found = everything(f"cc:{tmp_path / 'train.tsv'},{images}")
    assert found[:3] == [[("red", "a red thing")], [("blue", "a blue thing")], [("green", "a green thing")]]
    for said, wrong in zip(found[3:], ("no picture of http://a.org/3", "there is no tab", "its caption is empty"), strict=True):
        assert wrong in said and "train.tsv, line" in said
    (tmp_path / "local.tsv").write_text(f"title\tfilepath\nhere\t{fetched(addresses[0])}\n")
    assert everything(f"cc:{tmp_path / 'local.tsv'},{images}") == [[("red", "here")]]
    with pytest.raises(OpenGatoError, match="no folder nowhere"):
        everything(f"cc:{tmp_path / 'train.tsv'},nowhere")


def tar(path, members):
    with tarfile.open(path, "w") as out:
        for name, content in members:
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            out.addfile(facts, io.BytesIO(content))


def test_tars_as_img2dataset_writes_them(tmp_path):
    (tmp_path / "laion").mkdir()
    facts = [json.dumps({"caption": f"number {n}", "url": "x", "key": f"{n:09d}", "status": "success"}).encode() for n in range(3)]
    first = [("000000000.jpg", image("red", "JPEG")), ("000000000.txt", b" number 0 "), ("000000000.json", facts[0])]
    first += [("000000001.json", facts[1]), ("000000001.webp", image("blue", "WEBP"))]
    tar(tmp_path / "laion" / "00000.tar", first)
    bad = [
        ("b/2.png", image("green")[:60]),
        ("b/2.txt", b"cut"),
        ("b/3.txt", b"no picture"),
        ("c/3.png", image("green")),
        ("c/3.txt", b"ok"),
    ]
    tar(tmp_path / "laion" / "00001.tar", bad)
    (tmp_path / "laion" / "00000.parquet").write_bytes(b"what img2dataset leaves beside them")
    found = everything(f"tars:{tmp_path / 'laion'}")
    assert found[:2] == [[("red", "number 0")], [("blue", "number 1")]] and found[4] == [("green", "ok")]
    assert "00001.tar, b/2" in found[2] and "no image that can be read" in found[2] and "b/3: it has no picture" in found[3]
    assert everything(f"tars:{tmp_path / 'laion'}/*1.tar") == found[2:]
    data = open_dataset(f"tars:{tmp_path / 'laion'}", TOKENIZER, skip_bad=0.4)
    assert len(data) == 3 and data.task == "captions/laion"
    whole = (tmp_path / "laion" / "00000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    with pytest.raises(OpenGatoError, match=r"cut\.tar cannot be read as a tar"):
        everything(f"tars:{tmp_path / 'cut.tar'}")


def test_parquet_with_pictures_as_hugging_face_has_it(tmp_path):
    cell = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    (tmp_path / "beside.png").write_bytes(image("green"))
    pictures = [{"bytes": image("red"), "path": "1.png"}, {"bytes": None, "path": "beside.png"}, {"bytes": None, "path": None}]
    table = pa.table({"image": pa.array(pictures, cell), "caption": [["one", "the same"], ["two"], ["three"]], "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    found = everything(f"hf:{tmp_path}/*.parquet")
    assert found[:3] == [[("red", "one")], [("red", "the same")], [("green", "two")]] and "row 2: it has no picture" in found[3]
    parquet.write_table(pa.table({"image": pa.array(pictures[:1], cell), "text": ["plain"]}), tmp_path / "b.parquet")
    assert everything(f"hf:{tmp_path / 'b.parquet'}") == [[("red", "plain")]]
    parquet.write_table(pa.table({"pixels": [1]}), tmp_path / "c.parquet")
    with pytest.raises(OpenGatoError, match=r"c\.parquet has columns pixels: one of them must be called image"):
        everything(f"hf:{tmp_path / 'c.parquet'}")


def vqa(folder, count, with_choice=True, subtype="val2014"):
    asked = [{"image_id": 7, "question": f"What is number {n}?", "question_id": 7000 + n} for n in range(count)]
    answers = ["red"] * 7 + ["maroon"] * 2 + ["dark red"]
    given = [
        {"answer": a, "answer_confidence": "yes", "answer_id": i + 1} | ({} if with_choice else {"raw_answer": a})
        for i, a in enumerate(answers)
    ]
    marked = [
        {"question_id": q["question_id"], "image_id": 7, "question_type": "what is", "answer_type": "other", "answers": given}
        for q in asked
    ]
    if with_choice:
        marked = [annotation | {"multiple_choice_answer": "red"} for annotation in marked]
    head = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": subtype}
    (folder / "v2_questions.json").write_text(json.dumps(head | {"task_type": "Open-Ended", "questions": asked}))
    (folder / "v2_annotations.json").write_text(json.dumps(head | {"annotations": marked}))
    (folder / "images" / f"COCO_{subtype}_000000000007.jpg").write_bytes(image("red", "JPEG"))
    return f"vqa:{folder / 'v2_questions.json'},{folder / 'v2_annotations.json'},{folder / 'images'}"


@pytest.mark.parametrize("with_choice", [True, False])  # VQAv2, OKVQA
def test_answers_are_drawn_by_the_annotators_votes(tmp_path, images, with_choice):
    name = vqa(tmp_path, 600, with_choice)
    episodes = list(find_dataset(name).episodes())
    drawn = [e.actions[0] for e in episodes]
    share = {answer: count / 600 for answer, count in Counter(drawn).items()}
    assert share == pytest.approx({"red": 0.7, "maroon": 0.2, "dark red": 0.1}, abs=0.05)
    assert episodes[5].observations["question"] == ["What is number 5?"] and told(episodes[5])[0][0] == "red"
    assert Counter(episodes[5].info["answers"])["red"] == 7
    assert [e.actions[0] for e in find_dataset(name).episodes(100)] == drawn[100:]
    others = [e.actions[0] for e in find_dataset(name, Reading(seed=1)).episodes()]
    assert 0.3 < np.mean([a == b for a, b in zip(drawn, others)]) < 0.75  # 0.54 by chance


def test_questions_with_damage(tmp_path, images):
    name = vqa(tmp_path, 4)
    questions, annotations = (tmp_path / f"v2_{what}.json" for what in ("questions", "annotations"))
    data = json.loads(questions.read_text())
    data["questions"][1]["question_id"], data["questions"][2]["image_id"] = 1, 8
    del data["questions"][3]["question"]
    questions.write_text(json.dumps(data))
    found = everything(name)
    assert found[0][0][0] == "red" and "question 1 of" in found[1] and "no annotation in" in found[1]
    assert "there is no picture of image 8" in found[2] and "no field 'question'" in found[3]
    annotations.write_text("{")
    with pytest.raises(OpenGatoError, match=r"v2_annotations\.json cannot be read as VQA annotations"):
        everything(name)
    with pytest.raises(OpenGatoError, match=r"vqa has 1 paths: give vqa:QUESTIONS\.json,ANNOTATIONS\.json,IMAGES"):
        find_dataset(f"vqa:{questions}")


def test_pages_as_mmc4_has_them(tmp_path, images):
    for name in ("a.png", "b.png"):
        (images / name).write_bytes(image("red" if name == "a.png" else "blue"))
    facts = {"raw_url": "http://x", "matched_sim": 0.3, "face_detections": None}
    shown = [facts | {"image_name": name, "matched_text_index": at} for name, at in (("b.png", 2), ("a.png", 1), ("gone.png", 0))]
    page = {
        "url": "http://x",
        "text_list": ["zero.", "one.", "two.", "three."],
        "image_info": shown,
        "similarity_matrix": [],
        "could_have_url_duplicate": 0,
    }
    bad = [page | {"image_info": shown[2:]}, page | {"image_info": [shown[0] | {"matched_text_index": 4}]}, {"text_list": ["x"]}]
    (tmp_path / "docs_shard_0_v2.jsonl").write_text("\n".join(json.dumps(record) for record in [page, *bad]))
    found = everything(f"mmc4:{tmp_path / 'docs_shard_0_v2.jsonl'},{images}")
    assert found[0] == [("white", "zero."), ("red", "one."), ("blue", "two.\nthree.")]
    for said, wrong in zip(found[1:], ("none of its 1 pictures", "stands before sentence 4 of 4", "no field 'image_info'"), strict=True):
        assert wrong in said and "docs_shard_0_v2.jsonl, line" in said


def test_pages_as_obelics_has_them(tmp_path, images):
    address = "https://a.org/red.jpg"
    (images / fetched(address, "")).write_bytes(image("red", "JPEG"))
    rows = [
        ([address, None, None, "https://a.org/gone"], [None, "after red", "and more", None]),
        ([None, address], ["before", None]),
        (["https://a.org/gone", None], [None, "x"]),
        ([address], [None]),
        ([address, None], ["x"]),
    ]
    table = {"images": [r[0] for r in rows], "texts": [r[1] for r in rows], "metadata": ["[]"] * 5, "general_metadata": ["{}"] * 5}
    parquet.write_table(pa.table(table), tmp_path / "obelics.parquet")
    found = everything(f"obelics:{tmp_path / 'obelics.parquet'},{images}")
    assert found[:2] == [[("red", "after red\nand more")], [("white", "before")]]
    for said, wrong in zip(
        found[2:], ("none of its 1 pictures is in", "the page has no words", "2 places for images and 1 for texts"), strict=True
    ):
        assert wrong in said
    cell = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    inside = pa.array([[{"bytes": image("blue"), "path": None}, None]], cell)
    parquet.write_table(pa.table({"images": inside, "texts": [[None, "with its bytes"]]}), tmp_path / "whole.parquet")
    assert everything(f"obelics:{tmp_path / 'whole.parquet'}") == [[("blue", "with its bytes")]]


def test_pages_of_html_with_figures(tmp_path, images):
    (images / "red fox.png").write_bytes(image("red"))
    (images / "icon.png").write_bytes(image("blue", size=(20, 20)))
    (images / "cut.png").write_bytes(image("blue")[:50])
    (tmp_path / "site").mkdir()
    body = '<p>before<p><img src="../images/red%20fox.png">after <img src="../images/icon.png"><img src="http://x.org/a.png"> it'
    (tmp_path / "site" / "a.html").write_text(body)
    (tmp_path / "site" / "b.html").write_text('<img src="gone.png">x')
    (tmp_path / "site" / "c.html").write_text('<img src="../images/cut.png">x')
    (tmp_path / "site" / "d.htm").write_text('<img src="../images/red%20fox.png">the end<img src="../images/red%20fox.png">')
    found = everything(f"pages:{tmp_path / 'site'}")
    assert found[0] == [("white", "before"), ("red", "after\nit")] and found[3] == [("red", "the end")]
    assert "b.html: none of its 1 pictures" in found[1] and "cut.png is no image" in found[2]
    data = open_dataset(f"pages:{tmp_path / 'site'}", TOKENIZER, skip_bad=0.5)
    assert data.task == "pages/site" and data.timesteps == 3 and len(data) == 2
