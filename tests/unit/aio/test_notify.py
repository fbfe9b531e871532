"""What arrives at systemd's socket."""

import socket
from pathlib import Path

from pilothouse.aio.notify import READY, notify


def test_lines_arrive_as_one_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        assert notify(READY, "STATUS=two\nlines", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert systemd.recv(4096) == b"READY=1\nSTATUS=two lines"


def test_a_socket_without_a_file_is_reached_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")  # the kernel chooses an abstract name
        name = systemd.getsockname().decode()
        assert notify(READY, environment={"NOTIFY_SOCKET": name.replace("\0", "@", 1)})
        assert systemd.recv(4096) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    assert not notify(READY, environment={})
    assert not notify(READY, environment={"NOTIFY_SOCKET": "vsock:2:1"})
    assert not notify(READY, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
