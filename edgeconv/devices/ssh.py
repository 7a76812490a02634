"""A board reached by the system's OpenSSH client, with the user's keys and configuration."""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from edgeconv.devices.base import Completed, call
from edgeconv.devices.remote import RemoteDevice
from edgeconv.errors import DeviceError, UsageError

_CONNECT_S = 15
_SSH_FAILED = 255  # OpenSSH's own exit code; everything else is the remote program's


class SshDevice(RemoteDevice):
    """A Linux board with `sh`, `tar` and `sha256sum`, found at ssh://[USER@]HOST[:PORT]."""

    def __init__(self, spec: str) -> None:
        """Take the address; nothing is connected yet. Raises UsageError where it is wrong."""
        try:
            parts = urlsplit(spec)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or host.startswith("-") or parts.path.strip("/") or parts.password:
            raise UsageError(
                f"device {spec!r}: expected ssh://USER@HOST or ssh://USER@HOST:PORT "
                "(keys, not passwords: see ssh-copy-id)."
            )
        self.name = spec
        self.description = f"{host} over ssh"
        destination = f"{parts.username}@{host}" if parts.username else host
        self._command = ("ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}")
        self._command += (*(("-p", str(port)) if port else ()), "--", destination)
        self._try = shlex.join(("ssh", *(("-p", str(port)) if port else ()), destination, "true"))
        self._root = ""

    def shell(self, script: str, timeout_s: float, data: bytes | None = None) -> Completed:
        """Run a script by the login shell of the board."""
        done = call(
            (*self._command, script),
            name=self.name,
            timeout_s=timeout_s,
            advice="Install it: `apt-get install openssh-client`.",
            data=data,
        )
        if done.code == _SSH_FAILED:
            raise DeviceError(
                f"{self.name}: cannot connect: {done.message or 'ssh gave no reason'}. Does "
                f"`{self._try}` work without a password? (`ssh-copy-id` installs your key.)"
            )
        return done

    def root(self) -> str:
        """Return ~/.cache/edgeconv of the board's user, absolute."""
        if not self._root:
            home = self.check('printf %s "$HOME"', "find the home folder").decode()
            if not home.startswith("/"):
                raise DeviceError(
                    f"{self.name}: its shell says that the home folder is {home!r}. "
                    "A login shell that prints nothing by itself is needed."
                )
            self._root = f"{home}/.cache/edgeconv"
        return self._root

    def send(self, folder: Path, names: Sequence[str], remote: str) -> None:
        """Send the files as one tar stream."""
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w", dereference=True) as archive:
            for name in names:
                archive.add(folder / name, name)
        self.check(f"tar -C {shlex.quote(remote)} -xf -", "copy files to it", memory.getvalue())

    def pull(self, remote: str, names: Sequence[str], folder: Path) -> None:
        """Fetch the files as one tar stream."""
        listed = " ".join(map(shlex.quote, names))
        data = self.check(f"tar -C {shlex.quote(remote)} -cf - {listed}", "copy files from it")
        try:
            # Not "r", which would unpack what is compressed, of any size.
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                for name in names:
                    (folder / name).write_bytes(self._content(archive, name))
        except (tarfile.TarError, KeyError, ValueError) as error:
            raise DeviceError(f"{self.name}: sent no tar stream of {listed}: {error}.") from None

    def _content(self, archive: tarfile.TarFile, name: str) -> bytes:
        """Return a file's bytes; the board decides on no path, and sends no more than it says."""
        member = archive.getmember(name)
        # A sparse file's few bytes stand for as many as it likes, a link for another file.
        if not member.isreg() or member.issparse():
            raise DeviceError(f"{self.name}: {name} is not a plain file there.")
        file = archive.extractfile(member)
        return file.read() if file else b""  # None for what was refused above
