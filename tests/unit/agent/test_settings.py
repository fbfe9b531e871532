"""What an agent is told: derived names, and every mistake said at once."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pilothouse.agent.settings import (
    AgentSettings,
    CheckKind,
    HealthCheck,
    Listen,
    PortMapping,
    uses_of,
    validate_settings,
    workload_of,
)
from pilothouse.model.proxy import Role
from tests.unit.agent.support import TOKEN, a_settings


def test_sound_settings_have_no_mistakes(tmp_path: Path) -> None:
    assert validate_settings(a_settings(tmp_path)) == ()
    assert validate_settings(a_settings(tmp_path, role=Role.GATEWAY, services=())) == ()


def test_the_token_is_in_no_representation(tmp_path: Path) -> None:
    settings = a_settings(tmp_path)
    console = Console(width=500)
    with console.capture() as capture:
        console.print(settings)
    for text in (repr(settings), str(settings), f"{settings}", capture.get()):
        assert "reviews-v1" in text
        assert TOKEN not in text


def test_names_are_made_as_istio_and_the_registry_read_them(tmp_path: Path) -> None:
    settings = a_settings(tmp_path, namespace="shop", address="127.0.0.7")
    assert settings.node_id == "sidecar~127.0.0.7~reviews-v1.shop~shop.service.mesh"
    assert settings.workload_id == "shop/reviews-v1"


def test_own_address_is_the_default_except_for_the_admin_interface(tmp_path: Path) -> None:
    settings = a_settings(tmp_path, address="127.0.0.7", http_proxy_port=15001)
    assert settings.status.address == settings.readiness.address == "127.0.0.7"
    assert settings.http_proxy == Listen("127.0.0.7", 15001)
    assert settings.admin.address == "127.0.0.1"
    elsewhere = a_settings(tmp_path, status_address="127.0.0.8", http_proxy_address="127.0.0.9", http_proxy_port=1)
    assert (elsewhere.status.address, elsewhere.http_proxy) == ("127.0.0.8", Listen("127.0.0.9", 1))


def test_a_workload_without_services_registers_nothing(tmp_path: Path) -> None:
    assert workload_of(a_settings(tmp_path, services=())) is None
    assert workload_of(a_settings(tmp_path, role=Role.GATEWAY)) is None


def test_short_service_names_are_completed_and_whole_ones_kept(tmp_path: Path) -> None:
    mappings = (PortMapping("reviews", 9080, 1, 2), PortMapping("a.service.mesh", 80, 3, 4))
    workload = workload_of(a_settings(tmp_path, services=mappings))
    assert workload is not None
    assert [port.host for port in workload.ports] == ["reviews.service.mesh", "a.service.mesh"]


def test_listeners_of_a_gateway_are_not_known_beforehand(tmp_path: Path) -> None:
    assert a_settings(tmp_path, role=Role.GATEWAY).envoy_listeners == ()
    sidecar = a_settings(tmp_path, http_proxy_port=15001)
    assert [one.port for one in sidecar.envoy_listeners] == [sidecar.services[0].inbound_port, 15001]
    assert {where for _, where in uses_of(sidecar)} >= set(sidecar.envoy_listeners)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Listen("::1", 80)) == "[::1]:80"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a~b"}, "name 'a~b'"),
        ({"namespace": "Shop"}, "namespace 'Shop'"),
        ({"address": "localhost"}, "address 'localhost' is not an IP address"),
        ({"status_address": "x"}, "status_address 'x' is not an IP address"),
        ({"token": ""}, "token is empty"),
        ({"admin_port": 0}, "Envoy's admin interface: port 0"),
        ({"services": (PortMapping("a", 0, 1, 2),)}, "port 0 of service 'a'"),
        (
            {"status_port": 4000, "readiness_port": 4000},
            "127.0.0.1:4000 is given to status and metrics and to readiness",
        ),
        ({"services": (), "health": HealthCheck(CheckKind.TCP)}, "the health check needs a port"),
        ({"health": HealthCheck(CheckKind.HTTP, path="health")}, "does not begin with '/'"),
        ({"health": HealthCheck(interval_seconds=0)}, "interval and timeout"),
        ({"health": HealthCheck(unhealthy_threshold=0)}, "thresholds"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    (mistake,) = validate_settings(a_settings(tmp_path, **changes))
    assert said in mistake


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    settings = AgentSettings(name="", token="", state_dir=str(tmp_path), admin_port=70_000)
    assert len(validate_settings(settings)) == 3


def test_the_relays_socket_is_in_the_state_folder_unless_its_path_would_be_too_long() -> None:
    fields: dict[str, Any] = {"name": "a", "token": "t", "state_dir": "/" + "x" * 97}
    assert AgentSettings(**fields).relay_socket == f"{fields['state_dir']}/xds.sock", "107 bytes fit"
    fields["state_dir"] += "x"
    other = {**fields, "state_dir": fields["state_dir"] + "y"}
    assert AgentSettings(**fields).relay_socket.startswith("/tmp/pilothouse-")
    assert AgentSettings(**fields).relay_socket != AgentSettings(**other).relay_socket


def test_a_store_that_holds_nothing_is_a_mistake() -> None:
    (mistake,) = validate_settings(AgentSettings(name="a", token="t", state_dir="/s", most_stored_bytes=0))
    assert "most_stored_bytes" in mistake
