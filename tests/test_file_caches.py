"""The caches in the user's folder stay below a size."""

import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.files import (
    hold,
    recall,
    trim_at_times,
    trim_cache,
    write_atomic,
    write_new_folder,
)


def filled(folder: Path, count: int) -> list[Path]:
    """Files of 100 bytes; the later ones were used later."""
    paths = [folder / f"kernel_{i}" for i in range(count)]
    for i, path in enumerate(paths):
        write_atomic(path, bytes(100))
        os.utime(path, (0, 1000 + i))
    return paths


@pytest.mark.parametrize(("limit", "left"), [(1000, 10), (999, 9), (450, 4), (0, 0)])
def test_the_oldest_files_go(tmp_path: Path, limit: int, left: int) -> None:
    paths = filled(tmp_path, 10)
    trim_cache(tmp_path, limit)
    assert [path for path in paths if path.exists()] == paths[10 - left :]


def test_what_was_read_counts_as_used(tmp_path: Path) -> None:
    first, *rest = filled(tmp_path, 5)
    assert recall(first) == bytes(100)
    trim_cache(tmp_path, 200)
    assert set(tmp_path.iterdir()) == {first, rest[-1]}


def test_folders_links_and_no_cache_at_all(tmp_path: Path) -> None:
    trim_cache(tmp_path / "nothing", 0)
    outside = filled(tmp_path / "outside", 1)
    cache = tmp_path / "cache"
    (cache / "folder").mkdir(parents=True)
    (cache / "link").symlink_to(outside[0])
    trim_cache(cache, 0)
    assert outside[0].exists()
    assert len(list(cache.iterdir())) == 2


def folders(cache: Path, count: int) -> list[Path]:
    """Folders of 100 bytes, none of which was used within the hour; later ones were used later."""
    paths = [cache / f"artifact_{i}" for i in range(count)]
    for i, path in enumerate(paths):
        write_new_folder(path, {"a": bytes(60), "golden/b": bytes(40)})
        os.utime(path, (0, 1000 + i))
    return paths


@pytest.mark.parametrize(("limit", "left"), [(500, 5), (499, 4), (250, 2), (0, 0)])
def test_the_oldest_folders_go(tmp_path: Path, limit: int, left: int) -> None:
    paths = folders(tmp_path, 5)
    trim_cache(tmp_path, limit)
    assert sorted(tmp_path.iterdir()) == paths[5 - left :]
    assert all((path / "golden/b").is_file() for path in paths[5 - left :])


def test_folders_that_are_held_or_were_just_used_stay(tmp_path: Path) -> None:
    class Owner:
        pass

    first, second, third = folders(tmp_path, 3)
    owner = Owner()
    hold(first, owner)
    os.utime(second)
    trim_cache(tmp_path, 0)
    assert sorted(tmp_path.iterdir()) == [first, second]
    assert (first / "a").is_file()
    del owner
    trim_cache(tmp_path, 0)
    assert list(tmp_path.iterdir()) == [second]
    hold(third, Owner())  # what is not there cannot be held


def test_trimming_at_times(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folders(cache, 2)
    trim_at_times(cache, 0)
    assert list(cache.iterdir()) == []
    again = folders(cache, 2)
    trim_at_times(cache, 0)
    assert set(cache.iterdir()) == set(again)
    (marker,) = (path for path in tmp_path.iterdir() if path != cache)
    os.utime(marker, (0, 1000))
    trim_at_times(cache, 0)
    assert list(cache.iterdir()) == []
    trim_at_times(tmp_path / "nothing" / "at all", 0)


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    (tmp_path / ".new.1").write_bytes(b"new")
    (tmp_path / ".old.1").write_bytes(b"left by a process that was killed")
    os.utime(tmp_path / ".old.1", (0, 1000))
    trim_cache(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == [".new.1"]


def test_several_at_once(tmp_path: Path) -> None:
    failures = []

    def work(number: int) -> None:
        try:
            for i in range(100):
                write_atomic(tmp_path / f"{number}_{i}", bytes(100))
                trim_cache(tmp_path, 500)
                with contextlib.suppress(OSError):  # another thread's work
                    assert recall(tmp_path / f"{number}_{i}") == bytes(100)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    trim_cache(tmp_path, 500)
    assert len(list(tmp_path.iterdir())) <= 5


def interrupted_at(number: int, work: Callable[[], None]) -> bool:
    """Whether `work` came as far as its line `number`, where Ctrl-C ends it."""
    left = number

    def trace(frame, event, argument):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def write_file(path: Path) -> None:
    write_atomic(path, b"data")


def write_folder(path: Path) -> None:
    write_new_folder(path, {"a": b"data", "b": b"data"})


@pytest.mark.parametrize("work", [write_file, write_folder])
def test_an_interruption_at_any_line_leaves_all_or_nothing(tmp_path: Path, work) -> None:
    path = tmp_path / "new"
    for number in itertools.count(1):
        ended = interrupted_at(number, lambda: work(path))
        assert {found.name for found in tmp_path.iterdir()} <= {"new"}, number
        if path.is_file():
            assert path.read_bytes() == b"data"
            path.unlink()
        if path.is_dir():
            for found in path.iterdir():
                assert found.read_bytes() == b"data"
                found.unlink()
            path.rmdir()
        if not ended:
            break
    assert number > 10
