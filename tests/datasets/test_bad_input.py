"""Damaged and mistaken datasets of other programs stop with a sentence that names the file, the episode or the field."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from opengato.datasets.open import find_dataset, open_dataset
from opengato.errors import OpenGatoError
from opengato.tokens.text import TextTokenizer

OFFICIAL = Path(__file__).parent / "official"
DATA = "data/chunk-000/file-000.parquet"
INDEX = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lerobot(tmp_path):
    """A LeRobotDataset to be damaged."""
    pytest.importorskip("av")
    return Path(shutil.copytree(OFFICIAL / "lerobot_v3", tmp_path / "lerobot"))


def tokenised(path, skip_bad=0.0):
    return open_dataset(str(path), TextTokenizer.load(), skip_bad=skip_bad)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def change(path: Path, column: str, edit) -> None:
    """Another column in a parquet file."""
    table = parquet.read_table(path)
    values = table[column].to_pylist()
    edit(values)
    kind = table.schema.field(column).type
    parquet.write_table(table.set_column(table.column_names.index(column), column, pa.array(values, kind)), path)


def features(folder: Path, edit) -> None:
    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    edit(info["features"])
    path.write_text(json.dumps(info))


def test_the_undamaged_one_is_tokenised(lerobot):
    data = tokenised(lerobot)
    assert len(data) == 3 and data.timesteps == 19


def test_a_folder_that_is_no_dataset(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(OpenGatoError, match=r"is a folder, but no dataset .*minari, lerobot, rlds"):
        find_dataset(str(tmp_path))
    for name, says in {
        "lerobot": "no meta/info.json",
        "rlds": "no features.json",
        "jat": "no parquet file",
        "d4rl": "lacks one of",
    }.items():
        with pytest.raises(OpenGatoError, match=says):
            find_dataset(f"{name}:{tmp_path}")
    with pytest.raises(OpenGatoError, match="no file of robomimic's"):
        find_dataset(f"robomimic:{tmp_path / 'notes.txt'}")


def test_a_truncated_parquet(lerobot):
    cut(lerobot / DATA, 0.5)
    with pytest.raises(OpenGatoError, match=r"file-000.parquet is no parquet file that can be read, or is cut short"):
        find_dataset(str(lerobot))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_video(lerobot, share):
    cut(lerobot / VIDEO, share)
    with pytest.raises(OpenGatoError, match=r"file-000.mp4 .*(cut short|cannot be decoded|no frame)"):
        tokenised(lerobot)


def test_a_video_with_fewer_frames_than_rows(lerobot):
    """The episodes before its end can still be read."""
    from opengato.datasets.video import Clip, VideoWriter

    frames = np.asarray(Clip(lerobot / VIDEO, np.arange(15) / 10, 0.1, (64, 96)))
    writer = VideoWriter(lerobot / VIDEO, 10, (64, 96))
    for frame in frames:
        writer.add(frame)
    writer.close()
    with pytest.raises(OpenGatoError, match=r"ends after the frame at 1.4000 s, and rows ask for one at 1.5000 s"):
        tokenised(lerobot)
    data = tokenised(lerobot, skip_bad=0.4)
    assert len(data) == 2 and data.skipped == 1


def test_fewer_rows_than_the_index_says(lerobot):
    table = parquet.read_table(lerobot / DATA)
    parquet.write_table(table.slice(0, 17), lerobot / DATA)
    with pytest.raises(OpenGatoError, match=r"episode 2 .*has 2 rows of episode 2 where its index says 4"):
        tokenised(lerobot)


def test_a_nan_in_an_action(lerobot):
    def edit(actions):
        actions[8][1] = float("nan")

    change(lerobot / DATA, "action", edit)
    dataset = find_dataset(str(lerobot))
    assert dataset.survey.lines() == ["action has 1 values that are no finite numbers, the first in episode 1, timestep 2, entry 1"]
    with pytest.raises(OpenGatoError, match=r"nan at timestep 2, entry 1"):
        tokenised(lerobot)
    assert tokenised(lerobot, skip_bad=0.4).skipped == 1


def test_duplicate_episodes(lerobot):
    """Listed twice is an error; there twice under two numbers is reported."""

    def twice(numbers):
        numbers[2] = 1

    copy = Path(shutil.copytree(lerobot, lerobot.parent / "copy"))
    change(copy / INDEX, "episode_index", twice)
    with pytest.raises(OpenGatoError, match="lists episode 1 twice"):
        find_dataset(str(copy))

    table = parquet.read_table(lerobot / DATA)
    rows = table.slice(0, 6).to_pylist() + table.slice(6, 9).to_pylist() + table.slice(0, 4).to_pylist()
    kept = table.select(["timestamp", "frame_index", "episode_index", "index"]).to_pylist()
    for row, own in zip(rows, kept):
        row |= own
    parquet.write_table(pa.Table.from_pylist(rows, table.schema), lerobot / DATA)
    assert find_dataset(str(lerobot)).survey.duplicates == 0  # its first four timesteps are not the whole of it
    change(lerobot / INDEX, "length", lambda lengths: lengths.__setitem__(0, 4))
    parquet.write_table(pa.Table.from_pylist([*rows[:4], *rows[6:]], table.schema), lerobot / DATA)
    assert find_dataset(str(lerobot)).survey.lines() == ["1 episodes are there twice, the first is episode 2, which is episode 0 again"]


def test_unknown_features(lerobot):
    copy = Path(shutil.copytree(lerobot, lerobot.parent / "copy"))
    features(copy, lambda f: f.update({"observation.effort": {"dtype": "float32", "shape": [3], "names": None}}))
    with pytest.raises(OpenGatoError, match=r"feature 'observation.effort' .* is no column"):
        find_dataset(str(copy))
    features(lerobot, lambda f: f.pop("observation.state"))
    with pytest.raises(OpenGatoError, match=r"column 'observation.state' .* is no feature"):
        find_dataset(str(lerobot))


def test_features_that_are_neither_seen_nor_done_are_named(lerobot):
    table = parquet.read_table(lerobot / DATA)
    parquet.write_table(table.append_column("operator", pa.array([1.0] * len(table), pa.float32())), lerobot / DATA)
    features(lerobot, lambda f: f.update({"operator": {"dtype": "float32", "shape": [1], "names": None}}))
    assert "operator" in find_dataset(str(lerobot)).source.unused


def test_no_actions_and_no_pictures(lerobot):
    table = parquet.read_table(lerobot / DATA)
    blind = Path(shutil.copytree(lerobot, lerobot.parent / "blind"))
    parquet.write_table(table.drop(["observation.images.wrist"]), blind / DATA)
    features(blind, lambda f: (f.pop("observation.images.wrist"), f.pop("observation.images.front")))
    assert set(find_dataset(str(blind)).observation_space.spaces) == {"state", "task"}
    parquet.write_table(table.drop(["action"]), lerobot / DATA)
    features(lerobot, lambda f: f.pop("action"))
    with pytest.raises(OpenGatoError, match="no feature 'action'"):
        find_dataset(str(lerobot))


def test_another_version_and_a_missing_file(lerobot):
    (lerobot / VIDEO).unlink()
    with pytest.raises(OpenGatoError, match=r"lacks .*file-000.mp4"):
        find_dataset(str(lerobot))
    info = json.loads((lerobot / "meta/info.json").read_text())
    (lerobot / "meta/info.json").write_text(json.dumps({**info, "codebase_version": "v1.6"}))
    with pytest.raises(OpenGatoError, match=r"version v1.6: known are v2.0, v2.1, v3.0"):
        find_dataset(str(lerobot))


def test_rlds_that_is_cut_short_or_lacks_its_end(tmp_path):
    folder = Path(shutil.copytree(OFFICIAL / "rlds/tfrecord/plain_fixture/1.0.0", tmp_path / "rlds"))
    shard = next(path for path in sorted(folder.glob("*.tfrecord*")) if path.stat().st_size)
    whole = shard.read_bytes()
    cut(shard, 0.6)
    with pytest.raises(OpenGatoError, match=r"tfrecord-0000\d-of-0000\d is cut short in record \d"):
        list(find_dataset(str(folder)).episodes())
    shard.write_bytes(b"x" + whole[1:])
    with pytest.raises(OpenGatoError, match="no TFRecord file, or is damaged"):
        list(find_dataset(str(folder)).episodes())
    shard.unlink()
    with pytest.raises(OpenGatoError, match=r"has 1 of the 2 files of split 'train'"):
        find_dataset(str(folder))
    shard.write_bytes(whole)
    with pytest.raises(OpenGatoError, match=r"no files of split 'test': it has train"):
        find_dataset(f"rlds:{folder},test")


def test_an_episode_without_its_last_observation(tmp_path):
    """Of RLDS one whose steps do not end with the last; of Minari one that has no observation after its last action."""
    from opengato.datasets.tfrecord import parse_example, places, record

    folder = Path(shutil.copytree(OFFICIAL / "rlds/tfrecord/plain_fixture/1.0.0", tmp_path / "rlds"))
    shard = next(path for path in sorted(folder.glob("*.tfrecord*")) if path.stat().st_size)
    first, stop = places(shard)[0]
    flags = bytes(parse_example(record(shard, (first, stop)), {"steps/is_last"})["steps/is_last"].astype(np.uint8))
    data = bytearray(shard.read_bytes())
    at = data.index(flags, data.index(b"steps/is_last"))
    data[at + len(flags) - 1] = 0
    shard.write_bytes(data)
    with pytest.raises(OpenGatoError, match=r"episode 0 of rlds:.* is_last.*lacks its end|episode 0 of rlds:.*lacks its end"):
        next(find_dataset(str(folder)).episodes()).observations[0]

    h5py, minari = pytest.importorskip("h5py"), pytest.importorskip("minari")
    from opengato.datasets.convert import to_minari

    assert minari
    name = to_minari(find_dataset(str(OFFICIAL / "d4rl/walker-medium-v2.hdf5")), tmp_path / "minari")
    path = tmp_path / "minari" / name
    assert len(list(find_dataset(str(path)).episodes())) == 3
    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        rows = file["episode_1/observations"][:-1]
        del file["episode_1/observations"]
        file["episode_1/observations"] = rows
    with pytest.raises(OpenGatoError, match=r"episode 1 .*has 9 observations and 9 actions.*after its last action"):
        list(find_dataset(str(path)).episodes())


def test_hdf5_that_is_cut_short_or_disagrees(tmp_path):
    h5py = pytest.importorskip("h5py")
    walker = Path(shutil.copy(OFFICIAL / "d4rl/walker-medium-v2.hdf5", tmp_path))
    with h5py.File(walker, "a") as file:
        rows = file["rewards"][:-3]
        del file["rewards"]
        file["rewards"] = rows
    with pytest.raises(OpenGatoError, match="21 actions, 18 rewards"):
        find_dataset(str(walker))
    cut(walker, 0.5)
    with pytest.raises(OpenGatoError, match="no HDF5 file that can be read, or is cut short"):
        find_dataset(str(walker))

    lift = Path(shutil.copy(OFFICIAL / "robomimic/lift.hdf5", tmp_path))
    with h5py.File(lift, "a") as file:
        frames = file["data/demo_2/obs/agentview_image"][:-1]
        del file["data/demo_2/obs/agentview_image"], file["data/demo_10/obs/robot0_eef_pos"]
        file["data/demo_2/obs/agentview_image"] = frames
    _, second, third = find_dataset(str(lift)).episodes()
    with pytest.raises(OpenGatoError, match=r"agentview_image has 3 timesteps where the episode has 4: frames and rows disagree"):
        np.asarray(second.observations)
    with pytest.raises(OpenGatoError, match=r"demo_10 .*has no obs/robot0_eef_pos"):
        np.asarray(third.actions)


def test_jat_with_fewer_pictures_than_rewards(tmp_path):
    folder = Path(shutil.copytree(OFFICIAL / "jat/atari-pong", tmp_path / "pong"))
    file = folder / "train-00001-of-00002.parquet"
    change(file, "image_observations", lambda rows: rows[0].pop())
    *_, last = find_dataset(str(folder)).episodes()
    with pytest.raises(OpenGatoError, match="has 3 pictures and 4 rewards"):
        np.asarray(last.observations["image"])
    change(file, "discrete_actions", lambda rows: rows[0].pop())
    *_, last = find_dataset(str(folder)).episodes()
    with pytest.raises(OpenGatoError, match="action has 3 timesteps where the episode has 4"):
        np.asarray(last.actions)
