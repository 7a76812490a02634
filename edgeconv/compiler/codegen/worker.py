"""One compiling process: serves tasks of `workers.WorkerPool` from stdin until it closes."""

from __future__ import annotations

import os
import sys

from edgeconv.compiler.codegen.workers import receive, send
from edgeconv.errors import ToolchainError


def serve() -> None:
    """Answer every task; anything that is printed meanwhile goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    send(replies, "ready")
    while True:
        try:
            function, task = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = function(task)
        except Exception as error:
            result = ToolchainError(f"compiling a kernel failed: {error}")
        send(replies, result)


if __name__ == "__main__":
    serve()
