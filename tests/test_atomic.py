"""Files that are there whole or not at all."""

import os

import pytest

from opengato.atomic import replacing, write_text


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        raise RuntimeError("the process ends")
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_a_file_may_be_read_by_whoever_may_read_others_of_its_folder(tmp_path):
    with replacing(tmp_path / "private") as partial:
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    (tmp_path / "other").write_text("")
    assert (tmp_path / "private").stat().st_mode == (tmp_path / "other").stat().st_mode
