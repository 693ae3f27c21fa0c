"""Recordings for Rerun, read back by its own reader, against what LeRobot's library read of the dataset."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opengato.cli import main

OFFICIAL = Path(__file__).parent / "official" / "lerobot_v3"


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    """Entity -> its columns by name, of the fixture's second episode."""
    pytest.importorskip("rerun")
    pytest.importorskip("av")
    from rerun.chunk import RrdReader

    path = tmp_path_factory.mktemp("rerun") / "new" / "episode.rrd"
    main(["data", "view", f"lerobot:{OFFICIAL}", "--episode", "1", "--out", str(path)])
    found = {}
    for chunk in RrdReader(path).store().stream():
        for name, values in chunk.to_record_batch().to_pydict().items():
            found.setdefault(chunk.entity_path, {}).setdefault(name, []).extend(values)
    return found


@pytest.fixture(scope="module")
def expected():
    read = np.load(OFFICIAL / "expected.npz")
    return {name: read[name][read["episode_index"] == 1] for name in read}


@pytest.mark.parametrize("entity, key", [("/observation/state", "observation.state"), ("/action", "action"), ("/reward", "next.reward")])
def test_numbers_are_those_that_lerobot_reads_at_their_times(entities, expected, entity, key):
    columns = entities[entity]
    wanted = expected[key].reshape(len(expected[key]), -1)
    np.testing.assert_array_equal(np.array(columns["Scalars:scalars"]), wanted.astype(np.float64))
    assert columns["timestep"] == expected["frame_index"].tolist()
    np.testing.assert_allclose([time.total_seconds() for time in columns["time"]], expected["timestamp"], atol=1e-6)


def test_pictures_and_words_are_there(entities, expected):
    for camera in ("front", "wrist"):
        columns, wanted = entities[f"/observation/images/{camera}"], expected[f"observation.images.{camera}"]
        assert columns["timestep"] == expected["frame_index"].tolist()
        for (blob,), frame in zip(columns["EncodedImage:blob"], wanted, strict=True):
            picture = np.asarray(Image.open(io.BytesIO(bytes(blob))))
            assert picture.shape == frame.shape and np.abs(picture.astype(int) - frame).mean() < 12  # video, then JPEG
    words = entities["/observation/task"]
    first = [t for t in range(len(expected["task"])) if t == 0 or expected["task"][t] != expected["task"][t - 1]]
    assert words["timestep"] == first and words["TextDocument:text"] == [[expected["task"][t]] for t in first]


def test_without_the_package_it_says_which_extra_brings_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(SystemExit):
        main(["data", "view", "captions/emoji", "--out", str(tmp_path / "episode.rrd")])
    assert 'pip install "opengato[rerun]"' in capsys.readouterr().err
