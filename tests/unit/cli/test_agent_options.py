"""What a person writes for an agent, and what the agent is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from pilothouse.agent.settings import CheckKind, HealthCheck, Listen, PortMapping
from pilothouse.cli.agent_options import AgentOptions, decode_agent
from pilothouse.kit.errors import SettingsError
from pilothouse.model.proxy import Place, Role, TcpBind
from pilothouse.model.service import Locality, Protocol

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture
def options(tmp_path: Path) -> AgentOptions:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return AgentOptions(name="reviews-v1", token_file=str(path))


def mistakes(options: AgentOptions) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        decode_agent(options)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_a_name_and_a_token_are_enough(options: AgentOptions) -> None:
    settings = decode_agent(options)
    assert settings.token == TOKEN
    assert settings.node_id == "sidecar~127.0.0.1~reviews-v1.default~default.service.mesh"
    assert settings.discovery == Listen("127.0.0.1", 15010)
    assert settings.state_dir == ".pilothouse/agents/reviews-v1"


def test_services_have_three_ports_and_a_protocol(options: AgentOptions) -> None:
    given = replace(
        options,
        service=["reviews:9080:19080:9081", "stats:80:19081:9082/grpc", "raw.example.com:70:19082:9083/TCP"],
        app_address="127.44.0.3",
    )
    assert decode_agent(given).services == (
        PortMapping("reviews", 9080, 19080, 9081, "127.44.0.3", Protocol.HTTP),
        PortMapping("stats", 80, 19081, 9082, "127.44.0.3", Protocol.GRPC),
        PortMapping("raw.example.com", 70, 19082, 9083, "127.44.0.3", Protocol.TCP),
    )


@pytest.mark.parametrize(
    "text", ["", "reviews", "reviews:1:2", "reviews:1:2:3:4", ":1:2:3", "reviews:0:2:3", "reviews:1:2:65536", "r:1:2:x"]
)
def test_a_service_that_is_not_one_is_told_with_an_example(options: AgentOptions, text: str) -> None:
    (mistake,) = mistakes(replace(options, service=[text]))
    assert mistake == f"--service {text!r} is not NAME:PORT:INBOUND:APP[/PROTOCOL], such as reviews:9080:19080:9081"


def test_an_unknown_protocol_is_told_with_those_that_are_known(options: AgentOptions) -> None:
    (mistake,) = mistakes(replace(options, service=["reviews:1:2:3/htp"]))
    assert mistake.startswith("--service 'reviews:1:2:3/htp': protocol 'htp' is not one of http, http2, grpc")


def test_labels_locality_and_health(options: AgentOptions) -> None:
    settings = decode_agent(
        replace(options, label=["version=v1", "empty=", "path=a=b"], locality="r/z", service=["a:1:2:3"], health="tcp")
    )
    assert dict(settings.labels) == {"version": "v1", "empty": "", "path": "a=b"}
    assert settings.locality == Locality("r", "z", "")
    assert settings.health == HealthCheck(CheckKind.TCP)
    http = decode_agent(replace(options, service=["a:1:2:3"], health="http:/health?deep=1"))
    assert http.health == HealthCheck(CheckKind.HTTP, "/health?deep=1")


@pytest.mark.parametrize("text", ["http", "http:", "http:health", "udp", "tcp:1", ""])
def test_a_health_check_that_is_none_is_told(options: AgentOptions, text: str) -> None:
    assert mistakes(replace(options, health=text)) == [f"--health {text!r} is not http:/PATH, tcp or none"]


@pytest.mark.parametrize("text", ["/", "r/", "a/b/c/d"])
def test_a_locality_that_is_none_is_told(options: AgentOptions, text: str) -> None:
    assert mistakes(replace(options, locality=text)) == [f"--locality {text!r} is not REGION[/ZONE[/SUBZONE]]"]


@pytest.mark.parametrize(
    ("text", "expected"), [("[::1]:15010", Listen("::1", 15010)), ("mesh.example:1", Listen("mesh.example", 1))]
)
def test_the_control_plane_may_be_a_name_or_ipv6(options: AgentOptions, text: str, expected: Listen) -> None:
    assert decode_agent(replace(options, discovery=text)).discovery == expected


def test_a_gateway_has_a_role_of_its_own_and_no_app(options: AgentOptions) -> None:
    assert decode_agent(replace(options, gateway=True)).role is Role.GATEWAY
    (mistake,) = mistakes(replace(options, gateway=True, service=["a:1:2:3"]))
    assert mistake.startswith("--gateway has no app beside it")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    told = mistakes(
        AgentOptions(
            token_file=str(tmp_path / "missing"),
            address="here",
            discovery="there",
            service=["a", "b:1:2:3/x"],
            label=["v", "a=1", "a=2"],
            health="maybe",
            admin_port=70_000,
            readiness_port=15020,
        )
    )
    assert [line.split(" ", 1)[0] for line in told] == [
        "--token-file", "--discovery", "--service", "--service", "--label", "--label", "--health",
        "--name", "address", "Envoy's", "here:15020",
    ]  # fmt: skip


def test_a_token_file_that_others_can_read_is_refused(options: AgentOptions) -> None:
    Path(options.token_file).chmod(0o644)
    (mistake,) = mistakes(options)
    assert mistake.startswith("--token-file: the token file")
    assert TOKEN not in mistake


def test_envoy_is_relayed_unless_told_otherwise(options: AgentOptions) -> None:
    assert not decode_agent(options).direct_xds
    assert decode_agent(replace(options, direct_xds=True)).direct_xds


def test_tcp_listeners_are_read_and_names_completed(options: AgentOptions) -> None:
    settings = decode_agent(replace(options, tcp=["db:5432=127.0.0.1:15432", "kv.example.com:6379=[::1]:6379"]))
    assert settings.tcp == (
        TcpBind("db.service.mesh", 5432, Place("127.0.0.1", 15432)),
        TcpBind("kv.example.com", 6379, Place("::1", 6379)),
    )


@pytest.mark.parametrize("text", ["db", "db:1", "db:1=127.0.0.1", ":1=127.0.0.1:1", "db:1=localhost:1"])
def test_a_tcp_listener_that_is_not_one_is_told_with_an_example(options: AgentOptions, text: str) -> None:
    (mistake,) = mistakes(replace(options, tcp=[text]))
    assert mistake == f"--tcp {text!r} is not SERVICE:PORT=IP:PORT, such as db:5432=127.0.0.1:5432"


def test_a_tcp_listener_that_others_could_reach_is_refused(options: AgentOptions) -> None:
    (mistake,) = mistakes(replace(options, tcp=["db:1=10.0.0.1:1"]))
    assert "10.0.0.1 is not on loopback" in mistake


def test_a_tcp_listener_on_a_port_in_use_is_told(options: AgentOptions) -> None:
    (mistake,) = mistakes(replace(options, tcp=["db:1=127.0.0.1:15000"]))
    assert "is given to Envoy's admin interface and to the TCP listener for db.service.mesh:1" in mistake
