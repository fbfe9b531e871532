"""Gateway: ``networking/v1alpha3/gateway.proto`` as typed values, and what of it is not served yet.

Rules on the values are in ``validate_gateway``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import field

from pilothouse.config.schema import Message, UInt32


class Port(Message, frozen=True):
    """The port of one server; ``name`` is unique within its Gateway."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class ServerTLSMode(StrEnum):
    """How a server treats TLS."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class TLSProtocol(StrEnum):
    """Versions of TLS."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class TLSCertificate(Message, frozen=True):
    """One certificate as files."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Message, frozen=True):
    """TLS of one server."""

    https_redirect: bool = False
    mode: ServerTLSMode = ServerTLSMode.PASSTHROUGH
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    max_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None


class Server(Message, frozen=True):
    """One port that a gateway opens, and the hosts it answers for (``host`` or ``namespace/host``)."""

    port: Port | None = None
    bind: str = ""
    hosts: tuple[str, ...] = ()
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class Gateway(Message, frozen=True):
    """The servers that the gateway proxies with these labels open."""

    servers: tuple[Server, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)


NOT_SERVED: Final = {
    "servers[].tls": "TLS at a gateway",
    "servers[].defaultEndpoint": "a default endpoint (Istio does not use the field either)",
}
"""Path pattern (``[]`` stands for every item) → what a user must not expect yet."""
