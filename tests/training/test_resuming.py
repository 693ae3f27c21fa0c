"""A run goes on with what it was begun with; what only says how long or where it runs may change."""

import json

import pytest

from opengato.errors import OpenGatoError
from opengato.training.resuming import check_same_run

BEGUN = {
    "recipe": {"model": "swift-nano", "weights": None, "sampling": {"short_share": 0.8}},
    "datasets": {"arm/a": "1", "grid/b": "2"},
    "weights": {"arm": 0.5, "grid": 0.5},
    "train": {"steps": 10, "batch": 8, "seed": 0, "device": "cpu", "states": 2, "optimiser": {"kind": "muon", "learning_rate": 0.022}},
    "model": {"width": 128},
}


def changed(path, value):
    configuration = json.loads(json.dumps(BEGUN))
    *way, last = path
    inside = configuration
    for key in way:
        inside = inside[key]
    if value is None:
        del inside[last]
    else:
        inside[last] = value
    return configuration


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("train", "batch"), 16),
        (("train", "seed"), 1),
        (("train", "optimiser", "learning_rate"), 0.01),
        (("weights", "arm"), 0.7),
        (("weights", "text"), 0.1),
        (("datasets", "arm/a"), "3"),
        (("datasets", "grid/b"), None),
        (("recipe", "sampling", "short_share"), 0.0),
        (("model", "width"), 192),
    ],
)
def test_another_run_is_refused_by_name(path, value, tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(BEGUN))
    with pytest.raises(OpenGatoError, match=".".join(path) + " ") as error:
        check_same_run(tmp_path / "train.json", changed(path, value))
    assert "--allow-changes" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("train", "steps"), 99), (("train", "device"), "cuda"), (("train", "states"), None), (("recipe", "sampling", "new"), 1)],
)
def test_the_same_run_goes_on(path, value, tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(BEGUN))
    check_same_run(tmp_path / "train.json", changed(path, value))
    check_same_run(tmp_path / "none.json", changed(path, value))
