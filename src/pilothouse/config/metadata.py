"""The frame of every object: apiVersion, kind, metadata. Which kind it is, and who the object is.

Kubernetes writes much into metadata that has no meaning here (``managedFields``, ``uid``); all of it is accepted, so
that ``kubectl get -o yaml`` can be fed in, and only a name that does not exist is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import field

from pilothouse.config.findings import Finding, did_you_mean, one_of
from pilothouse.config.kinds import GROUPS, KINDS, Kind
from pilothouse.config.rules import check_dns_label, check_labels, check_object_name
from pilothouse.config.schema import Message
from pilothouse.kit import codes

OBJECT_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")
"""The fields of an object. ``status`` is output of some control plane and is not read."""


class Metadata(Message, frozen=True):
    """``metadata`` (Kubernetes' ObjectMeta). What Pilothouse does not use has no type."""

    name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    creation_timestamp: str = ""
    generate_name: Any = None
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    self_link: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    owner_references: Any = None
    finalizers: Any = None
    managed_fields: Any = None


def validate_metadata(metadata: Metadata) -> Iterator[Finding]:
    """A name that can be referred to, a namespace, and labels."""
    if not metadata.name:
        yield Finding(codes.MISSING_FIELD, ("metadata", "name"), "the object has no name", "Add metadata.name.")
    else:
        yield from check_object_name(("metadata", "name"), metadata.name)
    if metadata.namespace:
        yield from check_dns_label(("metadata", "namespace"), "namespace", metadata.namespace)
    yield from check_labels(("metadata", "labels"), metadata.labels)


def kind_of(value: Mapping[str, object]) -> Kind | Finding:
    """The kind that a document says it is, or what is wrong with what it says."""
    name, api_version = value.get("kind"), value.get("apiVersion")
    if not isinstance(name, str) or not isinstance(api_version, str):
        missing = [word for word, given in (("apiVersion", api_version), ("kind", name)) if not isinstance(given, str)]
        return Finding(codes.DOCUMENT_SHAPE, (), f"the document does not say its {' and '.join(missing)}")
    group, _, version = api_version.rpartition("/")
    if group not in GROUPS:
        return _foreign(name, api_version, group)
    kind = KINDS.get(name)
    if kind is None:
        remedy = did_you_mean(name, KINDS)
        return Finding(codes.KIND_UNKNOWN, ("kind",), f"Istio has no kind '{name}'", remedy)
    if kind.group != group:
        message = f"{name} belongs to {kind.group}, not to {group}"
        return Finding(codes.KIND_UNKNOWN, ("apiVersion",), message, f"Write 'apiVersion: {kind.api_version}'.")
    if version not in kind.versions:
        message = f"{name} has no version '{version}'"
        return Finding(codes.KIND_UNKNOWN, ("apiVersion",), message, f"Use {one_of(kind.versions)}.")
    return kind


def _foreign(name: str, api_version: str, group: str) -> Finding:
    nearest = did_you_mean(group, GROUPS) if "." in group and not group.endswith("k8s.io") else ""
    known = KINDS.get(name)
    if known is not None and (nearest or not group):
        remedy = f"For Istio's {name}, write 'apiVersion: {known.api_version}'."
        return Finding(codes.KIND_UNKNOWN, ("apiVersion",), f"'{api_version}' is not an API of Istio", remedy)
    owner = "Kubernetes" if "." not in group or group.endswith("k8s.io") else f"the API group {group}"
    return Finding(codes.KIND_FOREIGN, ("kind",), f"{name} ({api_version}) is not Istio's but belongs to {owner}")
