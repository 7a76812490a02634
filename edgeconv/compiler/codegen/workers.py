"""A few Python processes that work on one queue, beside this one.

`multiprocessing` would import the caller's main module again in each worker, which breaks scripts
without a main guard; these workers are plain `python -m` processes that speak pickles over pipes.
"""

from __future__ import annotations

import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import IO, Any, TypeVar

from edgeconv.errors import ToolchainError

Task = TypeVar("Task")
Result = TypeVar("Result")
WORKER = "edgeconv.compiler.codegen.worker"
_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """Write one pickled value."""
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one pickled value; raises EOFError where the stream ends."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    return pickle.loads(stream.read(length))


class WorkerPool:
    """Runs a function over tasks in this process and `count - 1` others."""

    def __init__(self, count: int, function: Callable[[Any], Any]) -> None:
        """Start the workers; `function` must be importable by its module and name."""
        self._function = function
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(count - 1)
        ]

    def __enter__(self) -> WorkerPool:
        """Return the pool; leaving it ends the workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers, whatever they are doing."""
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def map(self, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Any]]:
        """Yield (key, result) of every task as it is done.

        Raises ToolchainError where a worker dies, and whatever the function raises.
        """
        todo: queue.SimpleQueue[tuple[str, Task]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        for item in tasks.items():
            todo.put(item)
        threads = [
            threading.Thread(target=self._feed, args=(process, todo, done), daemon=True)
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        remaining = len(tasks)
        while remaining:
            try:
                key, task = todo.get_nowait()
                done.put((key, self._function(task)))
            except queue.Empty:
                pass
            while remaining:
                try:
                    key, result = done.get(block=todo.empty())
                except queue.Empty:
                    break
                remaining -= 1
                if isinstance(result, BaseException):
                    raise result
                yield key, result

    def _feed(
        self,
        process: subprocess.Popen[bytes],
        todo: queue.SimpleQueue[tuple[str, Task]],
        done: queue.SimpleQueue[tuple[str, Any]],
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            receive(process.stdout)  # ready
            while True:
                key, task = todo.get_nowait()
                try:
                    send(process.stdin, (self._function, task))
                    done.put((key, receive(process.stdout)))
                except (EOFError, OSError) as error:
                    done.put((key, ToolchainError(f"a compiling process died: {error!r}")))
                    return
        except (queue.Empty, EOFError, OSError):
            return
