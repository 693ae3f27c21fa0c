"""Files that are there whole or not at all."""

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
