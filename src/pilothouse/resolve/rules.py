"""Which DestinationRule applies to a service, for clients of a namespace; and what several for one host become.

Look-up: the client's own namespace, then the service's, then the root namespace; the first level that has any match
ends the search. Merge: subsets are united by name, the traffic policy is the first rule's that has one.
Source: istio-behaviour §1.5.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.config.destinationrule import DestinationRule, Subset, TrafficPolicy
from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.kit.codes import SUBSET_ALREADY_DEFINED
from pilothouse.kit.memo import IdentityMemo
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem
from pilothouse.model.hosts import most_specific
from pilothouse.resolve.services import is_exported


@dataclass(frozen=True, slots=True, eq=False)
class NamedSubset:
    """A subset and where it was written."""

    spec: Subset
    origin: FileOrigin


@dataclass(frozen=True, slots=True, eq=False)
class MergedRule:
    """All DestinationRules of one namespace for one host, as one.

    ``keys`` are the rules that went in, in the order of precedence; the first names the whole for people.
    """

    host: str
    namespace: str
    keys: tuple[ConfigKey, ...]
    export_to: tuple[str, ...]
    policy: TrafficPolicy | None
    policy_origin: FileOrigin
    subsets: tuple[NamedSubset, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def istio_name(self) -> str:
        """What istioctl expects in a cluster's metadata."""
        first = self.keys[0]
        return f"/apis/networking.istio.io/v1/namespaces/{first.namespace}/destination-rule/{first.name}"


@dataclass(frozen=True, slots=True, eq=False)
class RuleIndex:
    """Merged rules by namespace, then by host; ``patterns`` are the hosts with a wildcard."""

    by_namespace: Mapping[str, Mapping[str, MergedRule]]
    patterns: Mapping[str, tuple[str, ...]]
    root_namespace: str
    problems: tuple[Problem, ...] = ()

    def effective(self, host: str, service_namespace: str, client_namespace: str) -> MergedRule | None:
        """The rule that a client in ``client_namespace`` uses for a service, or None."""
        levels = dict.fromkeys((client_namespace, service_namespace, self.root_namespace))
        for level in levels:
            found = self._at(level, host, client_namespace)
            if found is not None:
                return found
        return None

    def _at(self, level: str, host: str, client_namespace: str) -> MergedRule | None:
        """The most specific visible rule of one namespace. An exact host is a look-up; only patterns are searched."""
        rules = self.by_namespace.get(level, {})
        exact = rules.get(host)
        if exact is not None and is_exported(exact.export_to, level, client_namespace):
            return exact
        patterns = [h for h in self.patterns.get(level, ()) if is_exported(rules[h].export_to, level, client_namespace)]
        found = most_specific(patterns, host)
        return rules[found] if found is not None else None


@dataclass(slots=True)
class RuleMerge:
    """Merges DestinationRules and remembers, so that an unchanged group stays the same object."""

    memo: IdentityMemo[MergedRule] = field(default_factory=IdentityMemo)

    def resolve_rules(self, rules: Iterable[tuple[str, ConfigObject]], root_namespace: str) -> RuleIndex:
        """The index of ``rules``: pairs of the full host name and the object, oldest first."""
        groups: dict[tuple[str, str], list[ConfigObject]] = {}
        for host, rule in rules:
            groups.setdefault((rule.key.namespace, host), []).append(rule)
        by_namespace: dict[str, dict[str, MergedRule]] = {}
        problems: list[Problem] = []
        for (namespace, host), group in sorted(groups.items(), key=lambda item: item[0]):
            merged = self.memo.get((namespace, host), lambda *g, host=host: merge_rules(host, g), *group)
            by_namespace.setdefault(namespace, {})[host] = merged
            problems += merged.problems
        self.memo.sweep()
        patterns = {ns: tuple(h for h in hosts if h.startswith("*")) for ns, hosts in by_namespace.items()}
        return RuleIndex(by_namespace, patterns, root_namespace, tuple(problems))


def merge_rules(host: str, group: Iterable[ConfigObject]) -> MergedRule:
    """One rule from all of a namespace for one host, oldest first."""
    members = [(rule, rule.spec) for rule in group if isinstance(rule.spec, DestinationRule)]
    subsets: dict[str, NamedSubset] = {}
    problems: list[Problem] = []
    for rule, spec in members:
        for index, subset in enumerate(spec.subsets):
            origin = rule.origin_at(f"spec.subsets[{index}]")
            first = subsets.setdefault(subset.name, NamedSubset(subset, origin))
            if first.origin != origin:
                message = f"subset {subset.name} of {host} is already defined at {first.origin}, which counts"
                problems.append(Problem(SUBSET_ALREADY_DEFINED, f"spec.subsets[{index}]", message, origin))
    with_policy = [(rule, spec.traffic_policy) for rule, spec in members if spec.traffic_policy is not None]
    oldest, oldest_spec = members[0]
    policy_rule, policy = with_policy[0] if with_policy else (oldest, None)
    return MergedRule(
        host=host,
        namespace=oldest.key.namespace,
        keys=tuple(rule.key for rule, _ in members),
        export_to=oldest_spec.export_to or ("*",),
        policy=policy,
        policy_origin=policy_rule.origin_at("spec.trafficPolicy"),
        subsets=tuple(subsets.values()),
        problems=tuple(problems),
    )
