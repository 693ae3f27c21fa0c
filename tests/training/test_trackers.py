"""Rows of a run in TensorBoard, Weights & Biases and trackio, read back by their own readers, with no network."""

import json
import sqlite3
import struct
import time
from importlib.util import find_spec

import pytest

from opengato.errors import OpenGatoError
from opengato.training import trackers

ROWS = [{"step": 10, "loss": 2.5, "loss/arm": 3.0}, {"step": 20, "loss": 1.25, "loss/arm": 1.5}]


def told(names, folder):
    with trackers.Trackers(names, folder, {"train": {"steps": 20}, "weights": {"arm": 1.0}}, 0) as board:
        for row in ROWS:
            board.log(row)


def test_tensorboard_has_every_number(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told((), tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["loss", "loss/arm"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 2.5), (20, 1.25)]


def records(log):
    """Of a file in LevelDB's log format, after wandb's header of seven bytes: blocks of 32 KiB, pieces of (crc, length, type)."""
    at, data = 7, b""
    while at + 7 <= len(log):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", log, at)
        data += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield data
            data = b""


def read_run(log):
    """The rows and the configuration in a file of wandb's."""
    from wandb.proto import wandb_internal_pb2

    found, config = [], {}
    for data in records(log):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            item = {(entry.key or "/".join(entry.nested_key)): json.loads(entry.value_json) for entry in record.history.item}
            found.append({"step": item["_step"], "loss": item["loss"], "loss/arm": item["loss/arm"]})
        if record.HasField("run"):
            config |= {entry.key or entry.nested_key[0]: json.loads(entry.value_json) for entry in record.run.config.update}
    return found, config


@pytest.mark.slow
def test_weights_and_biases_is_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    told(("wandb",), tmp_path / "run")
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(100):  # a process of its own writes it, which on a busy machine is not done when the run is
        found, config = read_run(file.read_bytes())
        if len(found) == len(ROWS):
            break
        time.sleep(0.2)
    assert found == ROWS and config["train"] == {"steps": 20}


@pytest.mark.slow
def test_trackio_is_a_database_on_this_machine(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    from trackio import utils

    folder = tmp_path / "trackio"
    monkeypatch.setattr(utils, "TRACKIO_DIR", folder)  # $TRACKIO_DIR, which is read as it is imported
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", folder, raising=False)
    told(("trackio",), tmp_path / "run")
    (file,) = folder.glob("opengato*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    found = [{"step": step} | json.loads(metrics) for step, metrics in rows]
    assert [{name: row[name] for name in ROWS[0]} for row in found] == ROWS


def test_a_tracker_that_is_not_there_is_named_before_any_work(monkeypatch):
    with pytest.raises(OpenGatoError, match="unknown tracker 'wandbb': did you mean 'wandb'"):
        trackers.check_trackers(["wandbb"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "trackio" else find_spec(name))
    with pytest.raises(OpenGatoError, match=r'pip install "opengato\[trackio\]"'):
        trackers.check_trackers(["trackio"])
