"""A port in use is named, with its holder and the way out."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.agent.settings import Listen
from pilothouse.demo.plan import MeshPlan
from pilothouse.demo.ports import holder, listening_inodes, proposals, require_free_ports, why_not_bindable
from pilothouse.kit.errors import PortInUse


@pytest.fixture
def free_plan() -> MeshPlan:
    port = next(proposals(MeshPlan.of(10_100, "/nowhere", "/nowhere")))
    return MeshPlan.of(port, "/nowhere", "/nowhere")


@pytest.fixture
def listener(free_plan: MeshPlan) -> Iterator[Listen]:
    """Somebody who holds the inbound port of reviews-v1."""
    where = next(workload.inbound for workload in free_plan.workloads if workload.name == "reviews-v1")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((where.address, where.port))
        server.listen()
        yield where


def test_free_ports_are_no_reason_to_complain(free_plan: MeshPlan) -> None:
    require_free_ports(free_plan)


def test_a_held_port_is_reported_with_its_use_its_holder_and_another_base_port(
    free_plan: MeshPlan, listener: Listen
) -> None:
    with pytest.raises(PortInUse) as caught:
        require_free_ports(free_plan)
    text = str(caught.value)
    assert f"{listener} (the sidecar of reviews-v1): in use by" in text
    assert f"(process {os.getpid()})" in text
    assert "pilothouse up --port " in text
    proposed = int(text.rpartition(" ")[2])
    require_free_ports(MeshPlan.of(proposed, "", ""))


def test_many_held_ports_are_not_all_listed(free_plan: MeshPlan) -> None:
    held = [socket.socket() for _ in range(7)]
    try:
        for server, (_, where) in zip(held, free_plan.uses(), strict=False):
            server.bind((where.address, where.port))
            server.listen()
        with pytest.raises(PortInUse, match="and 2 more"):
            require_free_ports(free_plan)
    finally:
        for server in held:
            server.close()


def test_an_address_of_another_machine_is_not_bindable() -> None:
    assert why_not_bindable(Listen("192.0.2.1", 8080)) is not None


def test_a_listener_on_all_addresses_holds_the_port_of_each() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        assert f"(process {os.getpid()})" in holder(Listen("127.44.0.1", server.getsockname()[1]))


def test_a_connection_is_no_listener(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    row = "   0: 0100007F:1F90 0100007F:C350 {} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0"
    table.write_text(f"head\n{row.format('01')}\n")
    assert listening_inodes(table, Listen("127.0.0.1", 8080)) == frozenset()
    table.write_text(f"head\n{row.format('0A')}\n")
    assert listening_inodes(table, Listen("127.0.0.1", 8080)) == {"4711"}


def test_without_proc_nobody_is_named(tmp_path: Path) -> None:
    assert listening_inodes(tmp_path / "missing", Listen("127.0.0.1", 8080)) == frozenset()
