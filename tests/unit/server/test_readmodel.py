"""The shapes that the command line prints."""

import msgspec

from pilothouse.kit.origin import FileOrigin, RegistryOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.source_codes import FILE_EMPTY
from pilothouse.model.proxy import Place, TcpBind
from pilothouse.server.readmodel import Status, show_problem, show_type
from pilothouse.server.views import show_bind
from pilothouse.xds.protocol import Refusal, SyncState, TypeStatus
from pilothouse.xds.resource import CLUSTER, LISTENER, Resource, Snapshot, resource_set

ORIGINS = (FileOrigin("reviews.yaml", 7, 3), RegistryOrigin("embedded", "reviews.service.mesh"))


def test_a_types_state_is_told_in_wall_clock_time_with_who_made_what_was_refused() -> None:
    refusal = Refusal("a", "1", "no", ORIGINS)
    shown = show_type(TypeStatus(CLUSTER, SyncState.REFUSED, 10.0, "no", ("b",), (refusal,), 3), 1000.0, 900.0)
    assert (shown.type, shown.state, shown.since, shown.outstanding, shown.resources) == (
        "CDS",
        "REFUSED",
        1010.0,
        ("b",),
        3,
    )
    assert shown.refusals[0].origins == ("reviews.yaml:7:3", "embedded: reviews.service.mesh")


def test_a_type_that_nothing_happened_to_is_as_it_is_since_the_stream_opened() -> None:
    assert show_type(TypeStatus(CLUSTER, SyncState.NOT_SENT, 0.0), 1000.0, 1500.0).since == 1500.0


def test_a_problem_has_the_catalogues_way_out_unless_it_knows_a_better_one() -> None:
    problem = Problem(FILE_EMPTY, "", "the file is empty", FileOrigin("a.yaml"))
    assert show_problem(problem).remedy == FILE_EMPTY.remedy
    assert (
        show_problem(Problem(FILE_EMPTY, "", "empty", FileOrigin("a.yaml"), "Remove a.yaml.")).remedy
        == "Remove a.yaml."
    )


def test_a_status_survives_the_wire() -> None:
    status = Status("1", ready=True, started_at=1.0, now=2.0, waits_for=("files",))
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status


def test_a_tcp_listener_that_the_proxy_does_not_have_is_told_with_the_reason() -> None:
    bind = TcpBind("db.service.mesh", 5432, Place("127.0.0.1", 5432))
    held = Snapshot({LISTENER: (resource_set(Resource("127.0.0.1_5432", "1", b"")),)})
    assert show_bind(bind, held) == "db.service.mesh:5432=127.0.0.1:5432"
    for without in (None, Snapshot({})):
        assert show_bind(bind, without) == "db.service.mesh:5432=127.0.0.1:5432 (no such service and port)"
