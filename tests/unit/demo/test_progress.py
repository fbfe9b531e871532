"""How far a mesh is, folded from what its control plane says."""

from collections.abc import Iterable

from pilothouse.demo.plan import MeshPlan
from pilothouse.demo.progress import Progress, State, fold_progress, is_converged
from pilothouse.model.registration import EnvoyState
from pilothouse.server.readmodel import AgentState, ProxyStatus, Status, TypeState

PLAN = MeshPlan.of(8080, "/run", "/config")
READY = EnvoyState(live=True, ready=True)
WORKLOADS = frozenset(f"default/{workload.name}" for workload in PLAN.workloads)


def proxy(
    name: str,
    *,
    envoy: EnvoyState | None = READY,
    connected: bool = True,
    stream: bool = True,
    states: Iterable[tuple[str, str]] = (("CDS", "SYNCED"), ("VHDS", "NOT SENT")),
) -> ProxyStatus:
    return ProxyStatus(
        id=f"sidecar~127.0.0.1~{name}.default~default.service.mesh",
        name=name,
        namespace="default",
        role="sidecar",
        address="127.0.0.1",
        version="1.40.0",
        variant="delta",
        connected_since=1.0 if stream else None,
        streams=int(stream),
        types=tuple(TypeState(kind, state, "a reason" if state != "SYNCED" else "", 1.0) for kind, state in states),
        agent=AgentState(1, connected, 1.0, f"default/{name}", envoy),
    )


def status(*proxies: ProxyStatus, ready: bool = True, waits_for: tuple[str, ...] = ()) -> Status:
    return Status("0", ready, 1.0, 2.0, waits_for, proxies)


def everybody() -> tuple[ProxyStatus, ...]:
    return tuple(proxy(name) for name in PLAN.proxy_names)


def state(progress: Progress, line: str, part: str = "sidecar") -> tuple[State, str]:
    return next((p.state, p.reason) for name, p in progress.parts if (name, p.name) == (line, part))


def test_before_the_control_plane_answers_everything_starts() -> None:
    progress = fold_progress(PLAN, None)
    assert progress.done == 0
    assert progress.total == 28
    assert {part.state for _, part in progress.parts} == {State.STARTING}


def test_a_control_plane_that_waits_says_for_what() -> None:
    progress = fold_progress(PLAN, status(ready=False, waits_for=("embedded", "files")))
    assert state(progress, "control plane", "") == (State.REGISTERED, "waits for embedded, files")


def test_a_mesh_is_ready_when_every_proxy_is_synced_and_every_app_gets_traffic() -> None:
    assert fold_progress(PLAN, status(*everybody()), WORKLOADS).is_ready
    without_one = fold_progress(PLAN, status(*everybody()), WORKLOADS - {"default/ratings-v1"})
    assert not without_one.is_ready
    assert without_one.missing == ("ratings-v1 app: registered",)


def test_an_envoy_that_is_not_ready_gives_its_reason() -> None:
    waiting = EnvoyState(live=True, ready=False, reason="no listener yet")
    progress = fold_progress(PLAN, status(proxy("ratings-v1", envoy=waiting)), WORKLOADS)
    assert state(progress, "ratings-v1") == (State.REGISTERED, "no listener yet")


def test_a_type_that_is_not_synced_keeps_its_proxy_from_being_ready() -> None:
    progress = fold_progress(PLAN, status(proxy("ratings-v1", states=[("LDS", "SYNCED"), ("CDS", "WARMING")])))
    assert state(progress, "ratings-v1") == (State.REGISTERED, "CDS WARMING: a reason")
    assert "ratings-v1 sidecar: registered (CDS WARMING: a reason)" in progress.missing


def test_a_lost_agent_starts_again() -> None:
    progress = fold_progress(PLAN, status(proxy("ratings-v1", connected=False)))
    assert state(progress, "ratings-v1") == (State.STARTING, "")


def test_an_envoy_without_a_stream_is_not_ready() -> None:
    progress = fold_progress(PLAN, status(proxy("ratings-v1", stream=False)))
    assert state(progress, "ratings-v1") == (State.REGISTERED, "envoy is not connected")


def test_converged_means_that_all_named_proxies_are_connected_and_settled() -> None:
    names = frozenset(PLAN.proxy_names)
    assert is_converged(status(*everybody()), names)
    assert not is_converged(status(*everybody()[1:]), names)
    assert not is_converged(status(*everybody()[1:], proxy(PLAN.proxy_names[0], stream=False)), names)
    refusing = proxy(PLAN.proxy_names[0], states=[("CDS", "REFUSED")])
    assert not is_converged(status(*everybody()[1:], refusing), names)
