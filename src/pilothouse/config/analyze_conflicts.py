"""VirtualServices that claim the same host for sidecars: not merged, so one must win (reference §1.2, §1.4)."""

from collections.abc import Mapping, Sequence

from pilothouse.config.analyze_hosts import KnownHosts
from pilothouse.config.findings import Finding
from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.config.validate_virtualservice import applies_to_mesh
from pilothouse.config.virtualservice import VirtualService
from pilothouse.kit import codes


def conflicts(objects: Sequence[ConfigObject], hosts: KnownHosts) -> Mapping[ConfigKey, list[Finding]]:
    """For each VirtualService that loses a host to another one: that host, and who has it."""
    claims: dict[str, list[tuple[ConfigObject, int]]] = {}
    for item in objects:
        if isinstance(item.spec, VirtualService) and applies_to_mesh(item.spec):
            for index, host in enumerate(item.spec.hosts):
                claims.setdefault(hosts.full_name(host, item.key.namespace), []).append((item, index))
    found: dict[ConfigKey, list[Finding]] = {}
    for host, claimants in claims.items():
        ranked = sorted(claimants, key=lambda claim: precedence(claim[0]))
        for position, (loser, index) in enumerate(ranked):
            winner = next((other for other, _ in ranked[:position] if meet(other, loser)), None)
            if winner is not None and winner is not loser:
                finding = Finding(codes.HOST_CONFLICT, ("spec", "hosts", index), _message(host, winner, loser))
                found.setdefault(loser.key, []).append(finding)
    return found


def precedence(item: ConfigObject) -> tuple[int, str, str, str]:
    """A sort key, first wins: visible to fewer, then older, then by name, then by namespace."""
    exported = exported_to(item)
    reach = 2 if "*" in exported else 0 if exported == {item.key.namespace} else 1
    return (reach, item.created, item.key.name, item.key.namespace)


def exported_to(item: ConfigObject) -> set[str]:
    """The namespaces that see a VirtualService; ``*`` for all."""
    entries = item.spec.export_to if isinstance(item.spec, VirtualService) else ()
    return {item.key.namespace if entry == "." else entry for entry in entries} or {"*"}


def meet(one: ConfigObject, other: ConfigObject) -> bool:
    """Whether some namespace sees both."""
    left, right = exported_to(one), exported_to(other)
    return "*" in left or "*" in right or bool(left & right)


def _message(host: str, winner: ConfigObject, loser: ConfigObject) -> str:
    if precedence(winner)[0] != precedence(loser)[0]:
        reason = "it is exported to fewer namespaces"
    elif winner.created != loser.created:
        reason = "it is older"
    else:
        reason = "its name comes first"
    return f"{winner.key} at {winner.origin} has the host '{host}' too, and it counts because {reason}"
