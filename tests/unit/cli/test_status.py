"""Whom ``status`` asks, and what it prints."""

import io
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from pilothouse.cli.status import StatusOptions, Target, choose_target
from pilothouse.cli.status_print import print_status
from pilothouse.demo.runtime import RunRecord
from pilothouse.kit.errors import SettingsError
from pilothouse.model.registration import EnvoyState
from pilothouse.server.readmodel import (
    AgentState,
    ProblemStatus,
    ProxyStatus,
    RefusalStatus,
    Status,
    SuspectState,
    TypeState,
)

NOW = 1_000_000.0
READY = EnvoyState(
    live=True,
    ready=True,
    serving_since=NOW - 300,
    version="1.40.0",
    admin_address="127.44.0.3:15000",
    epoch=2,
    restarts=1,
    rss_kib=66_000,
    pss_kib=18_000,
    private_kib=16_000,
    agent_rss_kib=51_200,
)


class Terminal(io.StringIO):
    """Somebody looks."""

    def isatty(self) -> bool:
        return True


def run(port: int) -> RunRecord:
    return RunRecord(1, port, f"127.0.0.1:{port + 6934}", f"/run/{port}/token", "config", "logs")


def types(**states: str) -> tuple[TypeState, ...]:
    """States by type; all others are synced for twelve seconds."""
    known = {"CDS": "SYNCED", "EDS": "SYNCED", "LDS": "SYNCED", "RDS": "SYNCED", "VHDS": "NOT SENT", **states}
    return tuple(TypeState(kind, state, "", NOW - 12) for kind, state in known.items())


def proxy(
    name: str, *, states: tuple[TypeState, ...] = types(), envoy: EnvoyState | None = READY, connected: bool = True
) -> ProxyStatus:
    return ProxyStatus(
        id=f"sidecar~127.44.0.3~{name}.default~default.service.mesh",
        name=name,
        namespace="default",
        role="sidecar",
        address="127.44.0.3",
        version="1.40.0",
        variant="delta",
        connected_since=NOW - 7300,
        streams=1,
        types=states,
        agent=AgentState(42, connected, NOW - 90, f"default/{name}", envoy),
    )


def printed(status: Status, *, wide: bool = False, file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    print_status(status, "127.0.0.1:15014", file, wide=wide)
    return file.getvalue()


def status(*proxies: ProxyStatus, problems: tuple[ProblemStatus, ...] = (), ready: bool = True) -> Status:
    waits_for = () if ready else ("embedded",)
    counts = {"services": 4, "endpoints": 6, "workloads": 6, "objects": 2}
    return Status("0.1.0", ready, NOW - 60, NOW, waits_for, proxies, problems, **counts)


def test_a_mesh_that_runs_here_is_asked_with_its_own_token(tmp_path: Path) -> None:
    target = choose_target(StatusOptions(), [run(8080)], tmp_path)
    assert target == Target("127.0.0.1:15014", "/run/8080/token")


def test_of_several_meshes_one_must_be_named(tmp_path: Path) -> None:
    runs = [run(8080), run(8180)]
    with pytest.raises(SettingsError, match=r"--address 127\.0\.0\.1:15114   \(up --port 8180\)"):
        choose_target(StatusOptions(), runs, tmp_path)
    chosen = choose_target(StatusOptions(address="127.0.0.1:15114"), runs, tmp_path)
    assert chosen == Target("127.0.0.1:15114", "/run/8180/token")


def test_without_a_mesh_the_default_of_serve_is_asked(tmp_path: Path) -> None:
    assert choose_target(StatusOptions(), [], tmp_path) == Target("127.0.0.1:15014", "")
    token = tmp_path / ".pilothouse" / "token"
    token.parent.mkdir()
    token.touch()
    assert choose_target(StatusOptions(), [], tmp_path).token_file == str(token)


def test_what_is_given_wins(tmp_path: Path) -> None:
    options = StatusOptions(address="10.0.0.1:15014", token_file="mine")
    assert choose_target(options, [run(8080)], tmp_path) == Target("10.0.0.1:15014", "mine")
    assert choose_target(StatusOptions(token_file="mine"), [run(8080)], tmp_path).token_file == "mine"


def test_columns_are_aligned_and_nothing_follows_when_all_is_well() -> None:
    lines = printed(status(proxy("reviews-v1"), proxy("a"))).splitlines()
    assert lines[0].split() == ["PROXY", "NAMESPACE", "CDS", "EDS", "LDS", "RDS", "VHDS", "ENVOY", "SERVING", "SINCE"]
    assert len(lines) == 3
    assert len({line.index("SYNCED") for line in lines[1:]} | {lines[0].index("CDS")}) == 1
    assert lines[1].count("SYNCED 12s") == 4
    assert "NOT SENT  ready" in lines[1]
    assert lines[1].endswith("(5m)")


def test_nothing_is_wrapped_in_a_pipe() -> None:
    long = "x" * 200
    assert any(line.startswith(long) and "SYNCED" in line for line in printed(status(proxy(long))).splitlines())


def test_wide_adds_memory_restarts_versions_and_the_control_plane() -> None:
    lines = printed(status(proxy("reviews-v1")), wide=True).splitlines()
    assert lines[0] == (
        "Control plane 127.0.0.1:15014, version 0.1.0, running for 1m, ready; "
        "4 services, 6 endpoints, 6 workloads (0 suspect), 2 configuration objects"
    )
    assert lines[2].split()[-11:] == [
        *("VERSION", "EPOCH", "CONNECTED", "RESTARTS", "RSS", "PSS", "PRIVATE", "AGENT", "RSS", "ADMIN", "TCP")
    ]
    assert lines[3].split()[-14:-11] == ["1.40.0", "2", "2h"]
    assert lines[3].split()[-11:] == (
        ["1", "64.5", "MiB", "17.6", "MiB", "15.6", "MiB", "50.0", "MiB", "127.44.0.3:15000", "-"]
    )


def test_what_is_outstanding_is_named_but_not_without_end() -> None:
    warming = TypeState("CDS", "WARMING", "there are no endpoints to send for a", NOW - 3, tuple("abcdefg"))
    text = printed(status(proxy("reviews-v1", states=(warming,))))
    assert "WARMING 3s" in text
    assert "reviews-v1.default CDS WARMING for 3s: there are no endpoints to send for a\n" in text
    assert "    outstanding: a, b, c, d, e and 2 more\n" in text


def test_a_refusal_is_told_with_envoys_words_and_the_places_that_made_it() -> None:
    refusal = RefusalStatus("inbound", "v1", "cannot bind", ("config/gateway.yaml:3:1", "embedded: reviews"))
    refused = TypeState("LDS", "REFUSED", "cannot bind", NOW - 75, refusals=(refusal,))
    lines = printed(status(proxy("reviews-v1", states=(refused,)))).splitlines()
    assert "reviews-v1.default LDS REFUSED for 1m" in lines
    assert "    refused inbound: cannot bind" in lines
    assert "        made by config/gateway.yaml:3:1" in lines


@pytest.mark.parametrize(
    ("envoy", "connected", "word", "reason"),
    [
        (EnvoyState(True, False, "no listener yet"), True, "live, not ready", "Envoy live, not ready: no listener yet"),
        (EnvoyState(False, False, "killed by SIGKILL"), True, "not live", "Envoy not live: killed by SIGKILL"),
        (READY, False, "agent lost", "agent lost: the agent (process 42) was last heard 1m ago"),
        (None, True, "unknown", ""),
    ],
)
def test_an_envoy_that_is_not_ready_is_told_with_the_reason(
    envoy: EnvoyState | None, connected: bool, word: str, reason: str
) -> None:
    lines = printed(status(proxy("reviews-v1", envoy=envoy, connected=connected))).splitlines()
    assert word in lines[1]
    assert lines[2:] == (["", f"reviews-v1.default {reason}"] if reason else [])


def test_problems_of_the_configuration_stand_below_with_place_and_remedy() -> None:
    problem = ProblemStatus(
        "error", "unknown-field", "reviews.yaml:14:9", "VirtualService default/reviews", "spec.http[0].rout",
        "`rout` is not a field", "Did you mean `route`?",
    )  # fmt: skip
    lines = printed(status(proxy("reviews-v1"), problems=(problem,))).splitlines()
    assert lines[-2:] == [
        "Problems (1):",
        "  reviews.yaml:14:9: error [unknown-field] VirtualService default/reviews: "
        "`rout` is not a field (spec.http[0].rout). Did you mean `route`?",
    ]


def suspect(name: str, *, held: bool = False, serving: bool = True) -> SuspectState:
    host, reason = "reviews.service.mesh", "the stream of its agent broke"
    return SuspectState(name, "default", (host,), NOW - 12, NOW + (0 if held else 18), reason, serving, held)


def test_suspects_stand_below_the_table_with_their_number_reason_and_time() -> None:
    lost = (suspect("reviews-v1"), suspect("reviews-v2", held=True), suspect("reviews-v3", serving=False))
    lines = printed(msgspec.structs.replace(status(proxy("reviews-v1")), suspects=lost)).splitlines()
    why = "(reviews.service.mesh) for 12s: the stream of its agent broke"
    assert lines[3:] == [
        "Suspect: 3 of 6 workloads; they keep their traffic for now",
        f"  reviews-v1.default {why}; it leaves in 18s unless its agent returns",
        f"  reviews-v2.default {why}; it stays, because too many of its service would leave at once",
        f"  reviews-v3.default {why}; it got no traffic before; it leaves in 18s unless its agent returns",
    ]


def test_many_suspects_are_counted_but_not_all_listed() -> None:
    lost = tuple(suspect(f"reviews-v{number}") for number in range(25))
    lines = printed(msgspec.structs.replace(status(proxy("reviews-v1")), suspects=lost)).splitlines()
    assert lines[3].startswith("Suspect: 25 of 6")
    assert lines[-1] == "  and 15 more"
    assert len(lines) == 15


def test_a_control_plane_that_waits_says_so() -> None:
    assert "answers no proxy yet: it waits for embedded" in printed(status(ready=False))


def test_no_proxy_is_said() -> None:
    assert printed(status()) == "No proxy is connected to the control plane at 127.0.0.1:15014.\n"


def test_on_a_terminal_the_same_cells_are_coloured() -> None:
    text = printed(status(proxy("reviews-v1")), file=Terminal())
    assert "\x1b[" in text
    assert "SYNCED 12s" in text
    assert "reviews-v1" in text


def test_a_stored_configuration_is_told_with_its_age() -> None:
    stored = structs.replace(READY, source="stored", stored_at=NOW - 725)
    lines = printed(status(proxy("reviews-v1", envoy=stored))).splitlines()
    assert "reviews-v1.default serves a stored configuration, 12m old" in lines
    live = structs.replace(READY, source="live")
    assert "stored" not in printed(status(proxy("reviews-v1", envoy=live)))
