"""The bootstrap: one golden file, and what must hold for every setting."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pilothouse.agent.bootstrap import compile_bootstrap, encode_bootstrap
from pilothouse.agent.settings import AgentSettings, PortMapping
from pilothouse.model.proxy import Role
from pilothouse.model.service import Locality

GOLDEN = Path(__file__).parent / "bootstrap.json"

REVIEWS = AgentSettings(
    name="reviews-v1",
    token="a-secret-token",
    state_dir="/nowhere",
    address="127.0.0.5",
    services=(PortMapping("reviews", 9080, 15006, 9081),),
    labels=(("app", "reviews"), ("version", "v1")),
    locality=Locality("eu", "eu-1"),
    service_account="bookinfo-reviews",
    http_proxy_port=15001,
)


def test_golden_bootstrap(request: pytest.FixtureRequest) -> None:
    text = encode_bootstrap(REVIEWS, "0.1.0") + "\n"
    if request.config.getoption("--update"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
SETTINGS = st.builds(
    AgentSettings,
    name=NAMES,
    token=st.just("a-secret-token"),
    state_dir=st.just("/nowhere"),
    discovery_host=st.sampled_from(["127.0.0.1", "::1", "pilot.example"]),
    discovery_port=st.integers(1, 65535),
    role=st.sampled_from(Role),
    namespace=NAMES,
    address=st.ip_addresses().map(str),
    labels=st.dictionaries(NAMES, NAMES, max_size=3).map(lambda one: tuple(one.items())),
    locality=st.builds(Locality, NAMES | st.just(""), NAMES | st.just("")),
    http_proxy_port=st.integers(0, 65535),
    network=NAMES | st.just(""),
)


@given(SETTINGS)
def test_no_secret_is_in_a_bootstrap_and_equal_settings_make_equal_text(settings: AgentSettings) -> None:
    text = encode_bootstrap(settings, "0.1.0")
    assert "a-secret-token" not in text
    assert text == encode_bootstrap(settings, "0.1.0")
    assert json.loads(text) == compile_bootstrap(settings, "0.1.0")


@given(SETTINGS)
def test_an_envoy_never_goes_live_without_its_control_plane(settings: AgentSettings) -> None:
    dynamic = compile_bootstrap(settings, "0")["dynamic_resources"]
    assert dynamic["cds_config"]["initial_fetch_timeout"] == dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    (service,) = dynamic["ads_config"]["grpc_services"]
    assert service["envoy_grpc"]["retry_policy"]["retry_back_off"]["max_interval"] == "1s"


@given(SETTINGS)
def test_the_node_says_the_same_in_id_and_metadata(settings: AgentSettings) -> None:
    node = compile_bootstrap(settings, "0")["node"]
    role, address, name, domain = node["id"].split("~")
    metadata: dict[str, Any] = node["metadata"]
    assert role in ("sidecar", "router")
    assert address == metadata["INSTANCE_IPS"]
    assert name == f"{metadata['NAME']}.{metadata['NAMESPACE']}" == node["cluster"]
    assert domain.split(".")[0] == metadata["NAMESPACE"]
    assert metadata["PILOTHOUSE_WORKLOAD_ID"] == f"{metadata['NAMESPACE']}/{metadata['NAME']}"
    assert ("HTTP_PROXY_PORT" in metadata) == (settings.http_proxy is not None)


@given(SETTINGS)
def test_envoy_reaches_its_control_plane_through_the_agents_socket(settings: AgentSettings) -> None:
    (cluster,) = compile_bootstrap(settings, "0")["static_resources"]["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"] == {"pipe": {"path": "/nowhere/xds.sock"}}
    assert cluster["type"] == "STATIC"


@given(SETTINGS)
def test_connected_directly_a_name_is_looked_up_and_an_address_is_not(settings: AgentSettings) -> None:
    direct = structs.replace(settings, direct_xds=True)
    (cluster,) = compile_bootstrap(direct, "0")["static_resources"]["clusters"]
    assert cluster["type"] == ("STRICT_DNS" if settings.discovery_host == "pilot.example" else "STATIC")
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["port_value"] == settings.discovery_port
