"""Who holds a port."""

import os
import socket

from pilothouse.server.ports import find_listener, port_in_use


def test_the_process_that_listens_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert find_listener(port).endswith(f"(pid {os.getpid()})")
        text = str(port_in_use("xds_address", f"127.0.0.1:{port}", port))
    assert f"port {port} (xds_address 127.0.0.1:{port}) is in use by " in text
    assert "set xds_address to another port" in text


def test_a_connection_is_not_a_listener_and_a_free_port_has_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = client.getsockname()[1]
        assert find_listener(port) == ""
    assert "is in use:" in str(port_in_use("xds_address", f"127.0.0.1:{port}", port))
