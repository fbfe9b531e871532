"""Every address and port of the mesh follows from one number."""

import pytest

from pilothouse.agent.settings import Listen
from pilothouse.demo.plan import Kind, MeshPlan, ProcessPlan
from pilothouse.kit.errors import SettingsError


def plan_of(port: int = 8080) -> MeshPlan:
    return MeshPlan.of(port, "/run/8080", "/run/8080/config")


def process(name: str, port: int = 8080) -> ProcessPlan:
    return next(one for one in plan_of(port).processes() if one.name == name)


def option(arguments: tuple[str, ...], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_base_port_gives_the_documented_ports() -> None:
    plan = plan_of()
    uses = dict(plan.uses())
    assert str(plan.gateway) == "127.0.0.1:8080"
    assert (str(plan.xds), str(plan.admin)) == ("127.0.0.1:15010", "127.0.0.1:15014")
    assert uses["the sidecar of reviews-v2"] == Listen("127.44.0.4", 19080)
    assert uses["the app reviews-v2"] == Listen("127.44.0.4", 29080)
    assert uses["the HTTP proxy of productpage-v1"] == Listen("127.44.0.1", 15001)
    assert uses["the agent of gateway (readiness)"] == Listen("127.44.0.9", 15021)


def test_another_base_port_moves_all_others_by_the_same_distance() -> None:
    base, moved = dict(plan_of().uses()), dict(plan_of(8180).uses())
    assert {use: listen.port + 100 for use, listen in base.items()} == {use: one.port for use, one in moved.items()}
    assert {use: listen.address for use, listen in base.items()} == {use: one.address for use, one in moved.items()}


def test_no_two_parts_share_an_address_and_port() -> None:
    listens = [listen for _, listen in plan_of().uses()]
    assert len(set(listens)) == len(listens)


@pytest.mark.parametrize("port", [1024, 8080, 44535])
def test_ports_stay_in_range(port: int) -> None:
    assert all(0 < listen.port < 65536 for _, listen in plan_of(port).uses())


@pytest.mark.parametrize("port", [-1, 0, 44536, 70000])
def test_a_base_port_that_moves_another_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(SettingsError, match=f"--port {port}: .* choose a port from 1024 to 44535"):
        plan_of(port)


def test_what_others_wait_for_is_started_first() -> None:
    processes = plan_of().processes()
    assert [one.kind for one in processes[:2]] == [Kind.CONTROL_PLANE, Kind.GATEWAY]
    assert len(processes) == 14
    assert len({one.name for one in processes}) == 14


def test_an_app_is_told_its_sidecar_as_http_proxy_and_nothing_else_of_the_mesh() -> None:
    app = process("reviews-v3 app")
    assert dict(app.environment) == {
        "HTTP_PROXY": "http://127.44.0.5:15001",
        "http_proxy": "http://127.44.0.5:15001",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
    assert app.arguments == (
        "pilothouse_bookinfo.reviews", "--address", "127.44.0.5", "--port", "29080",
        "--version", "v3", "--domain", "service.mesh",
    )  # fmt: skip


def test_a_sidecar_registers_the_three_ports_and_the_labels_of_its_app() -> None:
    arguments = process("reviews-v3 sidecar", 8180).arguments
    assert option(arguments, "--service") == "reviews:9080:19180:29180/http"
    assert [text for text in arguments if "=" in text] == ["app=reviews", "version=v3"]
    assert option(arguments, "--app-address") == "127.44.0.5"
    assert option(arguments, "--http-proxy-port") == "15101"
    assert option(arguments, "--health") == "http:/health"


def test_the_gateway_carries_the_label_that_gateways_select_and_has_no_app() -> None:
    arguments = process("gateway").arguments
    assert "--gateway" in arguments
    assert "istio=ingressgateway" in arguments
    assert not {"--service", "--http-proxy-port", "--health"} & set(arguments)


def test_no_secret_is_on_a_command_line() -> None:
    for one in plan_of().processes():
        assert "--token" not in one.arguments
    assert option(process("gateway").arguments, "--token-file") == "/run/8080/token"


def test_every_envoy_is_relayed_or_none_is() -> None:
    agents = [one for one in plan_of().processes() if one.kind in (Kind.GATEWAY, Kind.SIDECAR)]
    assert not any("--direct-xds" in one.arguments for one in agents)
    direct = MeshPlan.of(8080, "/run", "/config", direct_xds=True).processes()
    assert sum("--direct-xds" in one.arguments for one in direct) == len(agents)
