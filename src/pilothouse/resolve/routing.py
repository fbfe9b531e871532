"""VirtualServices with their names made full, and which of them speaks for a host.

A name without a dot means what DESIGN says of short names; a gateway's bare name lives in the object's namespace.
Source: istio-behaviour §1.1, §1.3, §1.4.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.config.virtualservice import VirtualService
from pilothouse.model.hosts import expand_short_name, most_specific
from pilothouse.model.labels import Labels, labels_of
from pilothouse.resolve.matching import MESH, Vantage
from pilothouse.resolve.services import is_exported


@dataclass(frozen=True, slots=True, eq=False)
class RoutingRule:
    """A VirtualService. ``names`` maps each host as written to the full name that it means.

    ``selectors`` are its ``sourceLabels``, ``namespaces`` its ``sourceNamespace``s: all that it asks about a proxy.
    """

    config: ConfigObject
    spec: VirtualService
    names: Mapping[str, str]
    gateways: tuple[str, ...]
    selectors: frozenset[Labels]
    namespaces: frozenset[str]

    @property
    def istio_name(self) -> str:
        """What istioctl expects in a route's metadata."""
        key = self.config.key
        return f"/apis/networking.istio.io/v1/namespaces/{key.namespace}/virtual-service/{key.name}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The full names of the hosts that it speaks for."""
        return tuple(self.host_name(host) for host in self.spec.hosts)

    @property
    def targets(self) -> tuple[str, ...]:
        """The full names of all destinations, in order of appearance."""
        return tuple(dict.fromkeys(self.host_name(host) for host in destinations(self.spec)))

    def narrowed(self, vantage: Vantage) -> Vantage:
        """``vantage`` without what this rule does not ask for: whoever sees the same of it shares its routes."""
        namespace = vantage.namespace if vantage.namespace in self.namespaces else ""
        return replace(vantage, namespace=namespace, matched=vantage.matched & self.selectors)

    def host_name(self, host: str) -> str:
        """The full name of a host of this object."""
        return self.names.get(host, host)


@dataclass(slots=True)
class RoutingRules:
    """Makes routing rules, and keeps the old one while neither the object nor the meaning of its names changed."""

    _known: dict[ConfigKey, RoutingRule] = field(default_factory=dict)

    def resolve_routing(
        self, objects: Iterable[ConfigObject], exists: Callable[[str], bool]
    ) -> tuple[RoutingRule, ...]:
        """The rules of all VirtualServices, in the given order (oldest first)."""
        rules = {}
        for config in objects:
            if isinstance(config.spec, VirtualService):
                rules[config.key] = self._rule(config, config.spec, exists)
        self._known = rules
        return tuple(rules.values())

    def _rule(self, config: ConfigObject, spec: VirtualService, exists: Callable[[str], bool]) -> RoutingRule:
        written = (*spec.hosts, *destinations(spec))
        names = {host: full_name(host, config.key.namespace, exists) for host in written}
        known = self._known.get(config.key)
        if known is not None and known.config is config and known.names == names:
            return known
        gateways = tuple(gateway_name(g, config.key.namespace) for g in spec.gateways or (MESH,))
        matches = [match for http in spec.http for match in http.match]
        return RoutingRule(
            config=config,
            spec=spec,
            names=names,
            gateways=gateways,
            selectors=frozenset(labels_of(match.source_labels) for match in matches) - {()},
            namespaces=frozenset(match.source_namespace for match in matches) - {""},
        )


@dataclass(frozen=True, slots=True)
class MeshRouting:
    """The rules that sidecars in one namespace see, by host; the oldest rule of a host is the one.

    ``patterns`` are the hosts with a wildcard.
    """

    by_host: Mapping[str, RoutingRule]
    patterns: tuple[str, ...]

    def rule_for(self, host: str) -> RoutingRule | None:
        """The rule of the most specific pattern that covers ``host``."""
        if host in self.by_host:
            return self.by_host[host]
        found = most_specific(self.patterns, host)
        return self.by_host[found] if found is not None else None


def mesh_routing(rules: Iterable[RoutingRule], namespace: str) -> MeshRouting:
    """The rules for sidecars of ``namespace``; visibility outranks age only in that invisible rules do not count."""
    by_host: dict[str, RoutingRule] = {}
    for rule in rules:
        if MESH in rule.gateways and is_exported(rule.spec.export_to, rule.config.key.namespace, namespace):
            for host in rule.hosts:
                by_host.setdefault(host, rule)
    return MeshRouting(by_host, tuple(h for h in by_host if h.startswith("*")))


def destinations(spec: VirtualService) -> Iterator[str]:
    """Every destination host as written."""
    for http in spec.http:
        for share in http.route:
            if share.destination is not None:
                yield share.destination.host


def full_name(host: str, namespace: str, exists: Callable[[str], bool]) -> str:
    """What ``host`` means: itself, or the one service that has the short name; itself again if that is not one.

    In lower case: names of hosts are compared without regard to it.
    """
    lowered = host.lower()
    candidates = expand_short_name(lowered, namespace, exists)
    return candidates[0] if len(candidates) == 1 else lowered


def gateway_name(name: str, namespace: str) -> str:
    """``namespace/name`` of a gateway reference; ``mesh`` stays itself."""
    if name == MESH:
        return MESH
    owner, slash, rest = name.rpartition("/")
    if not slash or owner == ".":
        return f"{namespace}/{rest}"
    return name
