"""What a node announces, read as a Proxy: Istio's node id and metadata, and two keys of our own.

Between the first message of a stream and everything that asks "which proxy is this?". It trusts nothing: whatever
does not fit is named in a ValueError, whose text goes back to the proxy. Source: istio-behaviour §4, "Proxy node".
"""

import ipaddress
from collections.abc import Mapping
from typing import Final

from pilothouse.model.labels import Labels, labels_of
from pilothouse.model.proxy import CaptureMode, Place, Proxy, Role, TcpBind
from pilothouse.model.service import Locality

MOST_ID_CHARACTERS: Final = 1024
MOST_LABELS: Final = 256
MOST_BINDS: Final = 64
NOWHERE: Final = Locality()

_REGION, _ZONE, _SUBZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"
_ISTIO_LOCALITY: Final = "istio-locality"


def decode_node(
    node_id: str, metadata: Mapping[str, object], locality: Locality = NOWHERE, user_agent_version: str = ""
) -> Proxy:
    """The proxy that announces itself as ``node_id`` (``TYPE~IP~NAME.NAMESPACE~DOMAIN``) with this metadata.

    Metadata wins over the id where both say something; labels about the place win over ``locality``.
    Raises ValueError with a text for the proxy's operator.
    """
    role, address, full_name = _parts(node_id)
    name, _, namespace = full_name.rpartition(".")
    labels = _labels(metadata.get("LABELS", {}))
    return Proxy(
        id=node_id,
        role=role,
        name=_text(metadata, "NAME") or name or full_name,
        namespace=_text(metadata, "NAMESPACE") or (namespace if name else "") or "default",
        address=_address(metadata, address, node_id),
        labels=labels,
        locality=_locality(dict(labels), locality),
        capture=_capture(metadata),
        workload_id=_text(metadata, "PILOTHOUSE_WORKLOAD_ID"),
        http_proxy_address=_ip(metadata, "PILOTHOUSE_HTTP_PROXY_ADDRESS", "127.0.0.1"),
        http_proxy_port=_port(metadata, "HTTP_PROXY_PORT"),
        envoy_version=user_agent_version,
        network=_text(metadata, "NETWORK"),
        tcp=_binds(metadata),
        tunnels=_text(metadata, "PILOTHOUSE_TUNNELS") == "true",
        guarded=tuple(_place(text, "PILOTHOUSE_GUARDED") for text in _list(metadata, "PILOTHOUSE_GUARDED")),
    )


def _parts(node_id: str) -> tuple[Role, str, str]:
    """Role, address and ``NAME.NAMESPACE`` of a node id."""
    if len(node_id) > MOST_ID_CHARACTERS:
        raise ValueError(f"node id: longer than {MOST_ID_CHARACTERS} characters")
    parts = node_id.split("~")
    if len(parts) != 4:
        raise ValueError(f"node id {node_id!r}: expected TYPE~IP~NAME.NAMESPACE~DOMAIN, found {len(parts)} part(s)")
    kind, address, full_name, _ = parts
    roles = {role.value: role for role in Role}
    if kind not in roles:
        raise ValueError(f"node id {node_id!r}: type {kind!r} is not served; known are {', '.join(roles)}")
    if not full_name:
        raise ValueError(f"node id {node_id!r}: the name is empty")
    return roles[kind], address, full_name


def _address(metadata: Mapping[str, object], from_id: str, node_id: str) -> str:
    """The first address of INSTANCE_IPS, or the id's."""
    for candidate in (*_text(metadata, "INSTANCE_IPS").split(","), from_id):
        try:
            return str(ipaddress.ip_address(candidate.strip()))
        except ValueError:
            continue
    raise ValueError(f"node id {node_id!r}: neither its second part nor the metadata INSTANCE_IPS is an IP address")


def _capture(metadata: Mapping[str, object]) -> CaptureMode:
    word = _text(metadata, "INTERCEPTION_MODE") or CaptureMode.REDIRECT
    try:
        return CaptureMode(word)
    except ValueError:
        known = ", ".join(CaptureMode)
        raise ValueError(f"metadata INTERCEPTION_MODE: {word!r} is not one of {known}") from None


def _labels(value: object) -> Labels:
    if not isinstance(value, Mapping) or len(value) > MOST_LABELS:
        raise ValueError(f"metadata LABELS: must be a map of at most {MOST_LABELS} texts")
    if not all(isinstance(key, str) and isinstance(item, str) for key, item in value.items()):
        raise ValueError("metadata LABELS: every label must be text")
    return labels_of({str(key): str(item) for key, item in value.items()})


def _locality(labels: Mapping[str, str], announced: Locality) -> Locality:
    """Where the proxy is: the topology labels, Istio's own label (dots for slashes), or what the node says."""
    if _REGION in labels:
        return Locality(labels[_REGION], labels.get(_ZONE, ""), labels.get(_SUBZONE, ""))
    if labels.get(_ISTIO_LOCALITY):
        region, zone, subzone, *_ = (*labels[_ISTIO_LOCALITY].split("."), "", "")
        return Locality(region, zone, subzone)
    return announced


def _text(metadata: Mapping[str, object], key: str) -> str:
    value = metadata.get(key, "")
    if isinstance(value, str):
        return value
    raise ValueError(f"metadata {key}: must be text, not {type(value).__name__}")


def _ip(metadata: Mapping[str, object], key: str, default: str) -> str:
    value = _text(metadata, key)
    try:
        return str(ipaddress.ip_address(value)) if value else default
    except ValueError:
        raise ValueError(f"metadata {key}: {value!r} is not an IP address") from None


def _list(metadata: Mapping[str, object], key: str) -> list[str]:
    """The parts of a text with commas."""
    parts = [part.strip() for part in _text(metadata, key).split(",") if part.strip()]
    if len(parts) > MOST_BINDS:
        raise ValueError(f"metadata {key}: more than {MOST_BINDS} entries")
    return parts


def _binds(metadata: Mapping[str, object]) -> tuple[TcpBind, ...]:
    """The TCP listeners that the agent asks for: ``HOST:PORT=IP:PORT``, with commas between."""
    key = "PILOTHOUSE_TCP"
    found: dict[Place, TcpBind] = {}
    for text in _list(metadata, key):
        service, _, local = text.partition("=")
        host, _, port = service.rpartition(":")
        at = _place(local, key)
        if not host or not ipaddress.ip_address(at.address).is_loopback:
            raise ValueError(f"metadata {key}: {text!r} is not HOST:PORT=IP:PORT with an IP on loopback")
        if at in found:
            raise ValueError(f"metadata {key}: {at} is asked for twice")
        found[at] = TcpBind(host.lower(), _port({key: port}, key), at)
    return tuple(sorted(found.values()))


def _place(text: str, key: str) -> Place:
    """``IP:PORT`` or ``[IPV6]:PORT``."""
    address, _, port = text.rpartition(":")
    try:
        return Place(str(ipaddress.ip_address(address.strip("[]"))), _port({key: port}, key))
    except ValueError:
        raise ValueError(f"metadata {key}: {text!r} is not IP:PORT") from None


def _port(metadata: Mapping[str, object], key: str) -> int:
    """A port as text or as a number (protobuf's Struct knows only floats); 0 if the key is missing."""
    value = metadata.get(key, 0)
    if isinstance(value, str) and value.isdecimal() and len(value) < 6:
        value = int(value)
    if not isinstance(value, int | float) or not 0 <= value <= 65535 or value != int(value):
        raise ValueError(f"metadata {key}: {value!r} is not a port")
    return int(value)
