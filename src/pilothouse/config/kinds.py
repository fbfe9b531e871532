"""Every kind of Istio's API: its group, its versions, and whether Pilothouse serves it.

A table, so that no kind is ever ignored in silence: what is not served is recognised and said. All versions of a
kind are equal; Istio has one schema for them.
"""

from dataclasses import dataclass
from typing import Final

from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.gateway import Gateway
from pilothouse.config.objects import Spec
from pilothouse.config.serviceentry import ServiceEntry
from pilothouse.config.virtualservice import VirtualService

NETWORKING: Final = "networking.istio.io"
SECURITY: Final = "security.istio.io"
TELEMETRY: Final = "telemetry.istio.io"
EXTENSIONS: Final = "extensions.istio.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``spec`` is its typed form, None if it is not served yet. ``plural`` is its name in URLs and stores."""

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    spec: type[Spec] | None = None

    @property
    def served(self) -> bool:
        """Whether objects of this kind have an effect."""
        return self.spec is not None

    @property
    def api_version(self) -> str:
        """The apiVersion to recommend."""
        return f"{self.group}/{self.versions[0]}"


_STABLE: Final = ("v1", "v1beta1", "v1alpha3")

KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("VirtualService", NETWORKING, _STABLE, "virtualservices", VirtualService),
        Kind("DestinationRule", NETWORKING, _STABLE, "destinationrules", DestinationRule),
        Kind("Gateway", NETWORKING, _STABLE, "gateways", Gateway),
        Kind("ServiceEntry", NETWORKING, _STABLE, "serviceentries", ServiceEntry),
        Kind("WorkloadEntry", NETWORKING, _STABLE, "workloadentries"),
        Kind("WorkloadGroup", NETWORKING, _STABLE, "workloadgroups"),
        Kind("Sidecar", NETWORKING, _STABLE, "sidecars"),
        Kind("EnvoyFilter", NETWORKING, ("v1alpha3",), "envoyfilters"),
        Kind("ProxyConfig", NETWORKING, ("v1beta1",), "proxyconfigs"),
        Kind("PeerAuthentication", SECURITY, ("v1", "v1beta1"), "peerauthentications"),
        Kind("RequestAuthentication", SECURITY, ("v1", "v1beta1"), "requestauthentications"),
        Kind("AuthorizationPolicy", SECURITY, ("v1", "v1beta1"), "authorizationpolicies"),
        Kind("Telemetry", TELEMETRY, ("v1", "v1alpha1"), "telemetries"),
        Kind("WasmPlugin", EXTENSIONS, ("v1alpha1",), "wasmplugins"),
        Kind("TrafficExtension", EXTENSIONS, ("v1alpha1",), "trafficextensions"),
    )
}
"""Kinds by name, as of Istio 1.31 (``pkg/config/schema/metadata.yaml``)."""

GROUPS: Final = frozenset(kind.group for kind in KINDS.values())
