"""Findings across objects: names that lead nowhere, rules that fight, expressions that cannot match.

Called by the command line, by the server and by whoever admits objects, always with the same answer. Everything here
is a warning: a service may start a moment later, so nothing is left out because of it.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from pilothouse.config.analyze_conflicts import conflicts
from pilothouse.config.analyze_hosts import KnownHosts
from pilothouse.config.analyze_regex import regex_findings
from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.explain import MAX_FINDINGS
from pilothouse.config.findings import MAX_MESSAGE, Finding, Path, all_of, did_you_mean, one_of, shortened, show_path
from pilothouse.config.gateway import Gateway
from pilothouse.config.objects import ConfigObject
from pilothouse.config.serviceentry import ServiceEntry
from pilothouse.config.validate_virtualservice import MESH, applies_to_mesh
from pilothouse.config.virtualservice import Destination, VirtualService
from pilothouse.kit import codes
from pilothouse.kit.problem import Problem


def analyze(objects: Sequence[ConfigObject], hosts: Collection[str]) -> tuple[Problem, ...]:
    """What stands out when ``objects`` are seen together. ``hosts`` are the services that the registries have.

    Hosts of the ServiceEntries among the objects are added. The order is that of the objects; an object has at most
    ``MAX_FINDINGS`` of them.
    """
    mesh = _Mesh(objects, hosts)
    problems: list[Problem] = []
    for item in objects:
        problems += (locate(item, finding) for finding in islice(mesh.findings(item), MAX_FINDINGS))
    return tuple(problems)


def locate(item: ConfigObject, finding: Finding) -> Problem:
    """A finding about an object of which only the marks are left."""
    path = show_path(finding.path)
    message, remedy = shortened(finding.message, MAX_MESSAGE), shortened(finding.remedy, MAX_MESSAGE)
    return Problem(finding.code, path, message, item.origin_at(path), remedy)


class _Mesh:
    """The objects, indexed for the questions that are asked about each."""

    def __init__(self, objects: Sequence[ConfigObject], hosts: Collection[str]) -> None:
        entries = (item.spec for item in objects if isinstance(item.spec, ServiceEntry))
        self._hosts = KnownHosts([*hosts, *(host for entry in entries for host in entry.hosts)])
        self._gateways = {(o.key.namespace, o.key.name) for o in objects if isinstance(o.spec, Gateway)}
        self._bound = {
            gateway_key(reference, item.key.namespace)
            for item in objects
            if isinstance(item.spec, VirtualService)
            for reference in item.spec.gateways
        }
        self._subsets: dict[str, set[str]] = {}
        for item in objects:
            if isinstance(item.spec, DestinationRule):
                host = self._hosts.full_name(item.spec.host, item.key.namespace)
                self._subsets.setdefault(host, set()).update(subset.name for subset in item.spec.subsets)
        self._conflicts = conflicts(objects, self._hosts)

    def findings(self, item: ConfigObject) -> Iterator[Finding]:
        """What is to be said about one object."""
        match item.spec:
            case VirtualService():
                yield from self._virtualservice(item, item.spec)
            case DestinationRule():
                what = "so the rule has no effect"
                host = item.spec.host
                yield from self._hosts.check(("spec", "host"), host, item.key.namespace, codes.RULE_WITHOUT_HOST, what)
            case Gateway() if (item.key.namespace, item.key.name) not in self._bound:
                remedy = f"Bind a VirtualService to it with 'gateways: [{item.key.namespace}/{item.key.name}]'."
                message = "no VirtualService is bound to this Gateway"
                yield Finding(codes.GATEWAY_WITHOUT_ROUTES, (), message, remedy)

    def _virtualservice(self, item: ConfigObject, spec: VirtualService) -> Iterator[Finding]:
        namespace = item.key.namespace
        if applies_to_mesh(spec):
            for index, host in enumerate(spec.hosts):
                where: Path = ("spec", "hosts", index)
                what = "so sidecars answer for it on port 80 only"
                yield from self._hosts.check(where, host, namespace, codes.UNKNOWN_HOST, what)
        yield from self._conflicts.get(item.key, ())
        yield from self._bindings(("spec", "gateways"), spec.gateways, namespace)
        for index, route in enumerate(spec.http):
            path: Path = ("spec", "http", index)
            for number, match in enumerate(route.match):
                yield from self._bindings((*path, "match", number, "gateways"), match.gateways, namespace)
            for number, share in enumerate(route.route):
                if share.destination is not None:
                    yield from self._destination((*path, "route", number, "destination"), share.destination, namespace)
        yield from regex_findings(spec)

    def _bindings(self, path: Path, references: Sequence[str], namespace: str) -> Iterator[Finding]:
        for index, reference in enumerate(references):
            key = gateway_key(reference, namespace)
            if reference != MESH and key not in self._gateways:
                known = {f"{where}/{name}" for where, name in self._gateways}
                elsewhere = sorted(name for name in known if name.endswith(f"/{key[1]}"))
                remedy = f"There is {one_of(elsewhere)}." if elsewhere else did_you_mean("/".join(key), known)
                message = f"there is no Gateway '{'/'.join(key)}'"
                yield Finding(codes.UNKNOWN_GATEWAY, (*path, index), message, remedy)

    def _destination(self, path: Path, destination: Destination, namespace: str) -> Iterator[Finding]:
        what = "so these requests would be answered with 503"
        unknown = list(self._hosts.check((*path, "host"), destination.host, namespace, codes.UNKNOWN_HOST, what))
        yield from unknown
        if unknown or not destination.subset:
            return
        host = self._hosts.full_name(destination.host, namespace)
        defined = self._subsets_of(host)
        if destination.subset not in defined:
            fallback = f"Its subsets are {all_of(sorted(defined))}." if defined else ""
            remedy = did_you_mean(destination.subset, defined) or fallback
            message = f"no DestinationRule defines a subset '{destination.subset}' of '{host}'"
            yield Finding(codes.UNKNOWN_SUBSET, (*path, "subset"), message, remedy)

    def _subsets_of(self, host: str) -> set[str]:
        """The subsets of the rule that applies: the one for the host itself, else the nearest wildcard's."""
        wider = (host, *(f"*{host[at:]}" for at in range(len(host) + 1)))
        return next((self._subsets[pattern] for pattern in wider if pattern in self._subsets), set())


def gateway_key(reference: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of the Gateway that a VirtualService in ``namespace`` names (reference §1.1)."""
    prefix, slash, name = reference.partition("/")
    if slash:
        return (namespace if prefix == "." else prefix, name)
    if "." in reference:
        name, prefix, *_ = reference.split(".")
        return (prefix, name)
    return (namespace, reference)
