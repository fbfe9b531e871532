"""One door to the rules of all kinds: a typed object in, everything that is wrong with it out."""

from collections.abc import Iterator
from typing import assert_never

from pilothouse.config.destinationrule import DestinationRule
from pilothouse.config.findings import Finding
from pilothouse.config.gateway import Gateway
from pilothouse.config.objects import ConfigKey, Spec
from pilothouse.config.served import check_served
from pilothouse.config.serviceentry import ServiceEntry
from pilothouse.config.validate_destinationrule import validate_destinationrule
from pilothouse.config.validate_gateway import validate_gateway
from pilothouse.config.validate_serviceentry import validate_serviceentry
from pilothouse.config.validate_virtualservice import validate_virtualservice
from pilothouse.config.virtualservice import VirtualService


def validate(key: ConfigKey, spec: Spec) -> Iterator[Finding]:
    """Istio's rules for one object, and what of it is not served yet."""
    yield from check_served(spec, ("spec",))
    match spec:
        case VirtualService():
            yield from validate_virtualservice(spec, key.namespace)
        case DestinationRule():
            yield from validate_destinationrule(spec, key.namespace)
        case Gateway():
            yield from validate_gateway(spec, key.name)
        case ServiceEntry():
            yield from validate_serviceentry(spec, key.namespace)
        case _:
            assert_never(spec)
