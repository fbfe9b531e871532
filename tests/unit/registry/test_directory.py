"""From workloads to services and endpoints."""

from pilothouse.kit.origin import RegistryOrigin
from pilothouse.model.service import Port, Protocol
from pilothouse.registry.admission import Admission
from pilothouse.registry.directory import Instance, keys_of, list_service, name_ports, problems_of

from .support import a_port, a_workload, key_of


def instance(name: str, address: str, *ports: tuple[str, int, Protocol], serving: bool = True) -> Instance:
    workload = Admission().admit(a_workload(name, address, *(a_port(h, n, p) for h, n, p in ports)))
    assert not isinstance(workload, str)
    return Instance(workload, serving)


HTTP = ("reviews", 9080, Protocol.HTTP)


def test_an_endpoint_is_where_the_sidecar_listens_and_never_the_app() -> None:
    entry = list_service(key_of("reviews"), [instance("reviews-v1", "127.0.0.11", HTTP)])
    assert entry is not None
    assert entry.service.ports == (Port(9080, "http", Protocol.HTTP),)
    (endpoint,) = entry.endpoints
    assert (endpoint.address, endpoint.port, endpoint.service_port) == ("127.0.0.11", 19080, "http")
    assert (endpoint.workload_id, endpoint.labels) == ("reviews-v1", (("version", "v1"),))
    assert endpoint.origin == RegistryOrigin("embedded", "reviews.service.mesh", "reviews-v1")


def test_a_service_without_a_healthy_instance_is_known_and_empty() -> None:
    entry = list_service(key_of("reviews"), [instance("reviews-v1", "127.0.0.11", HTTP, serving=False)])
    assert entry is not None
    assert entry.endpoints == ()


def test_a_service_nobody_serves_does_not_exist() -> None:
    assert list_service(key_of("ratings"), [instance("reviews-v1", "127.0.0.11", HTTP)]) is None


def test_ports_are_the_union_of_the_instances() -> None:
    other = ("reviews", 9081, Protocol.GRPC)
    entry = list_service(
        key_of("reviews"),
        [instance("reviews-v1", "127.0.0.11", HTTP), instance("reviews-v2", "127.0.0.12", HTTP, other)],
    )
    assert entry is not None
    assert entry.service.ports == (Port(9080, "http", Protocol.HTTP), Port(9081, "grpc", Protocol.GRPC))
    assert [(e.workload_id, e.service_port) for e in entry.endpoints] == [
        ("reviews-v1", "http"),
        ("reviews-v2", "http"),
        ("reviews-v2", "grpc"),
    ]


def test_the_oldest_instance_decides_a_ports_protocol_and_the_others_get_no_traffic_there() -> None:
    grpc = ("reviews", 9080, Protocol.GRPC)
    entry = list_service(
        key_of("reviews"), [instance("reviews-v1", "127.0.0.11", HTTP), instance("reviews-v2", "127.0.0.12", grpc)]
    )
    assert entry is not None
    assert entry.service.ports == (Port(9080, "http", Protocol.HTTP),)
    assert [e.workload_id for e in entry.endpoints] == ["reviews-v1"]
    (problem,) = problems_of([entry])
    assert problem.code.code == "registration-conflict"
    assert problem.origin.subject == "reviews-v2"


def test_port_names_are_unique_and_do_not_depend_on_order() -> None:
    assert name_ports({80: Protocol.HTTP, 81: Protocol.HTTP, 82: Protocol.GRPC}) == {
        80: "http-80",
        81: "http-81",
        82: "grpc",
    }


def test_one_workload_may_serve_several_services() -> None:
    workload = instance("x-v1", "127.0.0.11", HTTP, ("ratings", 9081, Protocol.HTTP)).workload
    assert keys_of(workload) == {key_of("reviews"), key_of("ratings")}
