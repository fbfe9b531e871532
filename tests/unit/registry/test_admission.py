"""What an agent may say about its workload."""

import msgspec
import pytest

from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import Register
from pilothouse.model.service import Protocol
from pilothouse.registry.admission import Admission, admit_register, parse_networks

from .support import a_port, a_workload


def changed(**fields: object) -> Workload:
    """The usual workload with other fields."""
    return msgspec.structs.replace(a_workload(), **fields)


def with_port(**fields: object) -> Workload:
    """The usual workload with another port."""
    return changed(ports=(msgspec.structs.replace(a_port(), **fields),))


def test_a_short_and_a_full_host_mean_the_same_service() -> None:
    admission = Admission("corp.mesh")
    for host in ("reviews", "reviews.corp.mesh"):
        admitted = admission.admit(with_port(host=host))
        assert isinstance(admitted, Workload)
        assert [port.host for port in admitted.ports] == ["reviews.corp.mesh"]


def test_addresses_labels_and_ports_take_their_plain_form() -> None:
    workload = changed(
        address="2001:DB8::0:1", labels=(("b", "2"), ("a", "1")), ports=(a_port("b", 81), a_port("a", 80))
    )
    admitted = Admission().admit(workload)
    assert isinstance(admitted, Workload)
    assert admitted.address == "2001:db8::1"
    assert admitted.labels == (("a", "1"), ("b", "2"))
    assert [port.service_port for port in admitted.ports] == [80, 81]


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (changed(id=""), "workload id"),
        (changed(id="a" * 254), "workload id"),
        (changed(id="a\nb"), "workload id"),
        (changed(namespace="Default"), "namespace 'Default'"),
        (changed(namespace="a" * 64), "DNS label"),
        (changed(address="reviews.local"), "must be an IP address"),
        (changed(address="0.0.0.0"), "nobody can connect"),
        (changed(address="224.0.0.1"), "nobody can connect"),
        (changed(weight=0), "weight 0"),
        (changed(weight=1001), "weight 1001"),
        (changed(service_account="a/b"), "service account"),
        (changed(ports=()), "0 ports"),
        (changed(ports=tuple(a_port(number=n) for n in range(1, 66))), "65 ports"),
        (changed(labels=(("bad key", "x"),)), "label 'bad key'='x'"),
        (changed(labels=(("k", "v" * 64),)), "label 'k'="),
        (changed(labels=(("k", "1"), ("k", "2"))), "same key"),
        (changed(labels=tuple((f"k{n}", "v") for n in range(65))), "65 labels"),
        (with_port(host="reviews.other.example"), "NAME or NAME.service.mesh"),
        (with_port(host="Reviews"), "NAME or NAME.service.mesh"),
        (with_port(host=""), "NAME or NAME.service.mesh"),
        (with_port(service_port=0), "service port 0"),
        (with_port(inbound_port=65536), "inbound port 65536"),
        (with_port(app_port=-1), "app port -1"),
        (with_port(app_address="localhost"), "app address"),
        (with_port(app_address="127.0.0.11", app_port=19080), "because the app does"),
        (with_port(protocol=Protocol.UNSUPPORTED), "protocol is missing"),
        (changed(ports=(InboundPort("a", 80, 1080, 80), InboundPort("b", 81, 1080, 81))), "same inbound port"),
        (
            changed(ports=(InboundPort("a", 80, 1080, 80), InboundPort("a", 80, 1081, 81))),
            "same port of the same service",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(workload: Workload, reason: str) -> None:
    refusal = Admission().admit(workload)
    assert isinstance(refusal, str)
    assert reason in refusal
    assert len(refusal) < 300, "a refusal is a sentence, however large the input"


def test_addresses_outside_the_allowed_networks_are_refused() -> None:
    admission = Admission(networks=parse_networks(("127.0.0.0/8", "10.1.0.0/16")))
    assert isinstance(admission.admit(changed(address="10.1.2.3")), Workload)
    assert "outside the networks" in str(admission.admit(changed(address="10.2.2.3")))


def test_a_gateway_registers_no_workload_but_needs_a_node_id() -> None:
    assert admit_register(Register("router~127.0.0.1~edge.default~mesh", 7), Admission()) is None
    assert "node id" in str(admit_register(Register("", 7), Admission()))
    assert "node id" in str(admit_register(Register("x" * 1025, 7), Admission()))
