"""Files and folders are whole or as they were, whatever goes wrong while they are written."""

import errno
import os
import stat

import pytest

from drnet_tf import writing
from drnet_tf.writing import check_folder_writable, check_writable, replacing, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_was_there_stays_where_the_block_fails(tmp_path, folder):
    path = tmp_path / "result"
    if folder:
        path.mkdir()
    old = path / "old" if folder else path
    old.write_text("old")
    with pytest.raises(OSError, match="No space"), replacing(path) as temporary:
        if folder:
            temporary.mkdir()
        (temporary / "new" if folder else temporary).write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == ["result"]
    assert old.read_text() == "old"


def test_folder_comes_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    path = tmp_path / "result"
    path.mkdir()
    (path / "old").touch()
    replace = os.replace

    def fail_for_new(source, target):
        if ".writing-" in str(source):
            raise OSError("cannot be renamed")
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", fail_for_new)
    with pytest.raises(OSError, match="cannot be renamed"), replacing(path) as temporary:
        temporary.mkdir()
    assert names(tmp_path) == ["result"]
    assert names(path) == ["old"]


@pytest.mark.parametrize("renamed", [False, True])
def test_what_a_killed_process_left_is_undone(tmp_path, renamed):
    """It had moved the old folder away, and had or had not renamed the new one."""
    path = tmp_path / "a [b] folder"
    (tmp_path / f".old-1-{path.name}").mkdir()
    (tmp_path / f".old-1-{path.name}" / "old").touch()
    (tmp_path / f".writing-1-{path.name}").mkdir()
    if renamed:
        path.mkdir()
        (path / "new").touch()
    with pytest.raises(OSError, match="stop"), replacing(path):
        raise OSError("stop")
    assert names(tmp_path) == [path.name]
    assert names(path) == (["new"] if renamed else ["old"])


def test_device_is_written_to_and_not_replaced(tmp_path):
    device = tmp_path / "device"
    os.mkfifo(device)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable(device)
        write_text(device, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(device.stat().st_mode)
    assert names(tmp_path) == ["device"]


def test_full_disk_is_an_error():
    with pytest.raises(OSError, match="No space left"):
        write_text("/dev/full", "text")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize("check", [check_writable, check_folder_writable])
def test_check_leaves_nothing_and_refuses_what_lies_in_a_file(tmp_path, check):
    check(tmp_path / "result")
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        check(tmp_path / "file" / "result")
    assert names(tmp_path) == ["file"]
