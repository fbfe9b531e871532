"""What an operator sets for one control plane, and what each setting means.

The first thing that ``pilothouse serve`` reads; ``server.settings_file`` turns a YAML file into these values. The
descriptions are the source of the reference page. Holds values only: it opens nothing and starts nothing.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from pilothouse.kit.errors import SettingsError
from pilothouse.model.world import MeshSettings, OutboundPolicy

DURATION: Final = {"duration": True}
"""Marks a number of seconds that may also be written as a duration: ``100ms``, ``1.5s``, ``2m``."""


class Debounce(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How changes are gathered before proxies are told."""

    quiet: Annotated[
        float,
        Meta(ge=0, le=10, description="A burst of changes ends after this long without a further one.", extra=DURATION),
    ] = 0.1
    at_most: Annotated[
        float, Meta(ge=0, le=60, description="A burst that does not end is sent after this long.", extra=DURATION)
    ] = 1.0


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The embedded registry: agents register the workloads that they stand beside."""

    lease_seconds: Annotated[
        float,
        Meta(
            ge=0.5,
            le=300,
            description="An agent that is not heard for this long is silent, and its workload suspect.",
            extra=DURATION,
        ),
    ] = 3.0
    suspect_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=86400,
            description="A workload whose agent is lost keeps its traffic for this long, and longer if too many are.",
            extra=DURATION,
        ),
    ] = 30.0
    most_silent_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="At most this share of a service's endpoints, and at least one, leaves per minute because "
            "agents are lost. 1: no limit.",
        ),
    ] = 0.15
    settle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="After a first start, proxies get no answer for this long, so that agents can register first.",
            extra=DURATION,
        ),
    ] = 1.0
    restart_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="After a restart, proxies are answered when all agents known before are back, and at the "
            "latest after this long; workloads without their agents are then served as suspects.",
            extra=DURATION,
        ),
    ] = 1.5
    networks: Annotated[
        tuple[str, ...],
        Meta(description="Workloads may only register addresses within these networks (CIDR). Empty: any address."),
    ] = ()


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where services come from."""

    embedded: Annotated[EmbeddedSettings, Meta(description="The registry that agents fill themselves.")] = (
        EmbeddedSettings()
    )


class FilesSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration folder."""

    hold: Annotated[
        bool,
        Meta(
            description="Whether deletions of many objects at once, and the loss of the folder, are held until "
            "`pilothouse accept`. Without it, objects go as their files go; a folder that is gone still drops nothing."
        ),
    ] = True
    hold_share: Annotated[
        float, Meta(ge=0, lt=1, description="A deletion is held if it takes more than this share of the objects.")
    ] = 0.5
    hold_at_least: Annotated[
        int, Meta(ge=1, le=1_000_000, description="A deletion of fewer objects is never held.")
    ] = 10
    hold_window: Annotated[
        float,
        Meta(
            ge=0, le=3600, description="Deletions within this long of each other are counted together.", extra=DURATION
        ),
    ] = 10.0


class SourcesSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where configuration comes from."""

    files: Annotated[FilesSettings, Meta(description="The configuration folder.")] = FilesSettings()


class OutboundTrafficPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of requests to hosts that no service has."""

    mode: Annotated[
        OutboundPolicy,
        Meta(
            description="ALLOW_ANY: the sidecar resolves the name and forwards, never to loopback, link-local or "
            "metadata addresses, and only from proxy ports on loopback. REGISTRY_ONLY: a 502 that names the host."
        ),
    ] = OutboundPolicy.ALLOW_ANY


class MeshSection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What holds for the whole mesh. The words and their spelling are those of Istio's MeshConfig."""

    access_log: Annotated[bool, Meta(description="Whether sidecars and gateways write an access log.")] = True
    trust_domain: Annotated[
        str, Meta(min_length=1, max_length=253, description="The trust domain of the mesh's identities.")
    ] = "cluster.local"
    root_namespace: Annotated[
        str, Meta(min_length=1, max_length=63, description="Objects in this namespace apply to all namespaces.")
    ] = "istio-system"
    connect_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=300,
            description="How long connecting to an endpoint may take, unless a rule says otherwise.",
            extra=DURATION,
        ),
    ] = 10.0
    outbound_traffic_policy: Annotated[
        OutboundTrafficPolicy, Meta(description="What becomes of requests to hosts that no service has.")
    ] = OutboundTrafficPolicy()

    def values(self) -> MeshSettings:
        """The same as ``resolve`` reads it."""
        return MeshSettings(
            root_namespace=self.root_namespace,
            trust_domain=self.trust_domain,
            access_log=self.access_log,
            connect_timeout_ms=round(self.connect_timeout * 1000),
            outbound=self.outbound_traffic_policy.mode,
        )


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that one control plane needs to know at start. Paths are absolute once read from a file."""

    xds_address: Annotated[
        str, Meta(description="Where proxies and agents connect (gRPC, plaintext): HOST:PORT. Port 0 takes a free one.")
    ] = "127.0.0.1:15010"
    admin_address: Annotated[
        str, Meta(description="Where readiness, metrics, debug data and status are served (HTTP): HOST:PORT.")
    ] = "127.0.0.1:15014"
    config_folder: Annotated[
        str, Meta(min_length=1, description="The folder whose YAML and JSON files configure the mesh; watched.")
    ] = "config"
    state_dir: Annotated[
        str, Meta(min_length=1, description="The folder for what must outlive a restart; made with mode 0700.")
    ] = ".pilothouse"
    token_file: Annotated[
        str,
        Meta(description="The file with the local credential, made at first start. Empty: `token` in the state_dir."),
    ] = ""
    domain: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
            max_length=190,
            description="The suffix of the host names of registered services: NAME.DOMAIN.",
        ),
    ] = "service.mesh"
    namespace: Annotated[
        str, Meta(min_length=1, max_length=63, description="The namespace of documents that do not name one.")
    ] = "default"
    debounce: Annotated[Debounce, Meta(description="How changes are gathered before proxies are told.")] = Debounce()
    registry: Annotated[RegistrySettings, Meta(description="Where services come from.")] = RegistrySettings()
    sources: Annotated[SourcesSettings, Meta(description="Where configuration comes from.")] = SourcesSettings()
    mesh: Annotated[MeshSection, Meta(description="What holds for the whole mesh.")] = MeshSection()
    write_timeout: Annotated[
        float,
        Meta(gt=0, le=600, description="A proxy that does not read for this long is disconnected.", extra=DURATION),
    ] = 20.0
    insecure: Annotated[
        bool, Meta(description="Allow listening beyond this machine without TLS. It is said at every start.")
    ] = False

    @property
    def token_path(self) -> Path:
        """Where the local credential lives."""
        return Path(self.token_file) if self.token_file else Path(self.state_dir) / "token"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the reference page."""

    key: str
    type: str
    default: str
    description: str


def describe_settings(section: type[msgspec.Struct] = ServerSettings, prefix: str = "") -> Iterator[Setting]:
    """A row for each setting of ``section`` and of the sections within it, in the order of the source."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        kind, meta = annotated(hints[field.name])
        key = prefix + field.encode_name
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from describe_settings(kind, key + ".")
        else:
            yield Setting(
                key, type_name(kind, meta), msgspec.json.encode(field.default).decode(), meta.description or ""
            )


def annotated(hint: object) -> tuple[object, Meta]:
    """The plain type and the ``Meta`` of an annotated field."""
    kind, *extras = get_args(hint)
    return kind, next(extra for extra in extras if isinstance(extra, Meta))


def type_name(kind: object, meta: Meta) -> str:
    """What a person is told to write."""
    if meta.extra == DURATION:
        return "duration"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(kind)
    if get_origin(kind) is tuple:
        return "list of text"
    return {bool: "true or false", float: "number", int: "number", str: "text"}.get(
        kind if isinstance(kind, type) else object, "text"
    )


def split_address(address: str, setting: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``. Raises SettingsError that names the setting."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{setting}: {address!r} is not HOST:PORT (such as 127.0.0.1:15010)")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's own. A name other than ``localhost`` may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_exposure(settings: ServerSettings) -> tuple[str, ...]:
    """The listeners that can be reached from elsewhere. Raises SettingsError if there is one and it is not allowed."""
    named = (("xds_address", settings.xds_address), ("admin_address", settings.admin_address))
    exposed = tuple(f"{name} {address}" for name, address in named if not is_loopback(split_address(address, name)[0]))
    if exposed and not settings.insecure:
        raise SettingsError(
            f"{' and '.join(exposed)} can be reached from other machines, and is not encrypted: "
            "listen on 127.0.0.1, or set `insecure: true`"
        )
    return exposed


SETTINGS: Final[tuple[Setting, ...]] = tuple(describe_settings())
"""Every setting, for the generated reference page."""
