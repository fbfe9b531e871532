"""What systemd is told: ready, stopping, and one line of status for ``systemctl status``.

The protocol of sd_notify(3), a datagram to the socket that systemd names in the environment. Without that socket
nothing happens, so callers need not know whether systemd started them. Its failure never costs the service anything.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
SECONDS: Final = 1.0
"""How long a socket that nobody empties is waited for."""


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send assignments such as ``READY`` or ``STATUS=text``. Whether systemd listens and was told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SECONDS)
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall("\n".join(line.replace("\n", " ") for line in lines).encode())
    except OSError as error:
        log.warning("systemd was not told", text=lines[0], error=str(error))
        return False
    return True
