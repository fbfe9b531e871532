"""The catalogue of Problem codes: the words that users grep for, each with its cause and the way out.

The page ``docs/reference/problems.md`` is generated from ``CODES``. A code is added here before anything emits it,
and is never renamed: it is part of the interface. One tuple per room, in the order of the layers.
"""

from typing import Final

from pilothouse.kit.problem import ProblemCode, Severity
from pilothouse.kit.registry_codes import REGISTRY_CODES
from pilothouse.kit.source_codes import SOURCE_CODES

# --- config: reading the text -----------------------------------------------------------------------------------

YAML_SYNTAX: Final = ProblemCode(
    "yaml-syntax",
    Severity.ERROR,
    "The document is not well-formed YAML, so nothing in it could be read. Other documents are not affected.",
    "Correct the place that is named; indent with spaces, and quote texts that contain ': ' or ' #'.",
)
YAML_DUPLICATE_KEY: Final = ProblemCode(
    "yaml-duplicate-key",
    Severity.ERROR,
    "A mapping has the same key twice. Most YAML readers keep one of the two in silence, and not always the same one.",
    "Remove one of the two, or merge them.",
)
YAML_KEY: Final = ProblemCode(
    "yaml-key",
    Severity.ERROR,
    "A mapping has a key that is not a text.",
    "Put the key in quotes.",
)
YAML_TAG: Final = ProblemCode(
    "yaml-tag",
    Severity.ERROR,
    "A YAML tag asks for a type that configuration does not have, or its value is not of that type.",
    "Remove the tag and write a plain value.",
)
YAML_LIMIT: Final = ProblemCode(
    "yaml-limit",
    Severity.ERROR,
    "A text is larger or more deeply nested than configuration ever is, or its aliases expand to too much.",
    "Split the text into smaller documents, or write out what the aliases stand for.",
)
DOCUMENT_SHAPE: Final = ProblemCode(
    "document-shape",
    Severity.ERROR,
    "A document is not an object with apiVersion, kind, metadata and spec.",
    "Start from an example of the kind that you mean.",
)

# --- config: the kind -------------------------------------------------------------------------------------------

KIND_UNKNOWN: Final = ProblemCode(
    "kind-unknown",
    Severity.ERROR,
    "The API group is Istio's, but it has no such kind or no such version.",
    "Correct kind or apiVersion.",
)
KIND_FOREIGN: Final = ProblemCode(
    "kind-foreign",
    Severity.ERROR,
    "The object belongs to another system. Pilothouse reads Istio's kinds and nothing else.",
    "Remove the object from the configuration; services come from registries or from a ServiceEntry.",
)
KIND_NOT_SERVED: Final = ProblemCode(
    "kind-not-served",
    Severity.WARNING,
    "The kind is Istio's, and Pilothouse does not serve it yet, so the object has no effect.",
    "Do not rely on the object; remove it if its absence matters to you.",
)
DUPLICATE_OBJECT: Final = ProblemCode(
    "duplicate-object",
    Severity.ERROR,
    "Two objects have the same kind, namespace and name. The first one counts, this one is left out.",
    "Rename or remove one of the two.",
)

# --- config: fields and values ----------------------------------------------------------------------------------

UNKNOWN_FIELD: Final = ProblemCode(
    "unknown-field",
    Severity.ERROR,
    "Istio's API has no such field at this place.",
    "Correct the spelling or the indentation, or remove the field.",
)
WRONG_TYPE: Final = ProblemCode(
    "wrong-type",
    Severity.ERROR,
    "The value has another type than the field.",
    "Write a value of the type that is named.",
)
UNKNOWN_VALUE: Final = ProblemCode(
    "unknown-value",
    Severity.ERROR,
    "The field takes one of a few words, and this is none of them.",
    "Use one of the words that are named.",
)
MISSING_FIELD: Final = ProblemCode(
    "missing-field",
    Severity.ERROR,
    "Something that Istio's API requires is not there or is empty.",
    "Add what is missing.",
)
CONFLICTING_FIELDS: Final = ProblemCode(
    "conflicting-fields",
    Severity.ERROR,
    "Fields that exclude each other are both set.",
    "Keep one of them.",
)
OUT_OF_RANGE: Final = ProblemCode(
    "out-of-range",
    Severity.ERROR,
    "A number is outside the range that the field allows.",
    "Use a number within the range that is named.",
)
INVALID_DURATION: Final = ProblemCode(
    "invalid-duration",
    Severity.ERROR,
    "A duration cannot be read, is shorter than a millisecond, or has a part finer than a millisecond.",
    "Write numbers with units, such as 300ms, 5s or 1h30m.",
)
INVALID_HOST: Final = ProblemCode(
    "invalid-host",
    Severity.ERROR,
    "A host is not a DNS name, or has a wildcard where none is allowed.",
    "Use a DNS name of letters, digits and '-'; a wildcard may only be its first label.",
)
INVALID_NAME: Final = ProblemCode(
    "invalid-name",
    Severity.ERROR,
    "A name or a label breaks the rules for names.",
    "Use letters, digits and '-', at most 63 of them, beginning and ending with a letter or digit.",
)
INVALID_ADDRESS: Final = ProblemCode(
    "invalid-address",
    Severity.ERROR,
    "An address is not an IP address, or not of the form that the field wants.",
    "Write an address of the form that the message names.",
)
INVALID_HEADER: Final = ProblemCode(
    "invalid-header",
    Severity.ERROR,
    "A header's name or value is not allowed. Envoy would refuse every route of the host with it.",
    "Correct the name or the value as the message says.",
)
INVALID_REGEX: Final = ProblemCode(
    "invalid-regex",
    Severity.ERROR,
    "A regular expression is not valid RE2, the dialect of Envoy.",
    "Correct the expression; RE2's syntax is at https://github.com/google/re2/wiki/Syntax.",
)
INVALID_VALUE: Final = ProblemCode(
    "invalid-value",
    Severity.ERROR,
    "The value has the right type, but Istio's rules for the field do not allow it.",
    "Use a value as the message describes.",
)
DUPLICATE_ENTRY: Final = ProblemCode(
    "duplicate-entry",
    Severity.ERROR,
    "An entry that must be unique is there twice.",
    "Rename or remove one of the two.",
)
FIELD_NOT_SERVED: Final = ProblemCode(
    "field-not-served",
    Severity.ERROR,
    "The field is Istio's, and Pilothouse does not serve it yet. The whole object is left out, so that nothing of it "
    "is ignored in silence.",
    "Remove the field, or keep the object out until it is served.",
)
OLD_SPELLING: Final = ProblemCode(
    "old-spelling",
    Severity.NOTICE,
    "The field was renamed or replaced in Istio's API. It is read as its modern counterpart.",
    "Write the modern field.",
)
IGNORED_FIELD: Final = ProblemCode(
    "ignored-field",
    Severity.WARNING,
    "Istio accepts the field and does nothing with it, and so does Pilothouse.",
    "Use the field that the message names, or remove this one.",
)
NO_EFFECT: Final = ProblemCode(
    "no-effect",
    Severity.WARNING,
    "The setting is valid and changes nothing as it stands.",
    "Complete the setting, or remove it.",
)
ROUTE_UNREACHABLE: Final = ProblemCode(
    "route-unreachable",
    Severity.WARNING,
    "Routes are tried in order, and an earlier one takes every request that this one could match.",
    "Move the more specific route up, or remove this one.",
)
PORT_NOT_SERVED: Final = ProblemCode(
    "port-not-served",
    Severity.WARNING,
    "Only ports that speak HTTP, HTTP2, GRPC or GRPC-Web are routed yet.",
    "Declare HTTP, HTTP2, GRPC or GRPC-Web if the port speaks it; do not rely on the port otherwise.",
)
TOO_MANY_FINDINGS: Final = ProblemCode(
    "too-many-findings",
    Severity.WARNING,
    "So much is wrong with one object that the rest is not shown.",
    "Correct what is shown and look again.",
)

# --- config: findings across objects ----------------------------------------------------------------------------

UNKNOWN_HOST: Final = ProblemCode(
    "unknown-host",
    Severity.WARNING,
    "No registry and no ServiceEntry has a service of this name at present.",
    "Correct the name, or start the service.",
)
AMBIGUOUS_HOST: Final = ProblemCode(
    "ambiguous-host",
    Severity.WARNING,
    "A host without a dot stands for one service only if exactly one registry has it.",
    "Write the full name of the one that you mean.",
)
UNKNOWN_SUBSET: Final = ProblemCode(
    "unknown-subset",
    Severity.WARNING,
    "A route names a subset that no DestinationRule of the host defines; its requests would be answered with 503.",
    "Add the subset to a DestinationRule, or correct its name.",
)
UNKNOWN_GATEWAY: Final = ProblemCode(
    "unknown-gateway",
    Severity.WARNING,
    "A VirtualService is bound to a Gateway that does not exist, so it does not apply there.",
    "Correct the reference (namespace/name), or add the Gateway.",
)
HOST_CONFLICT: Final = ProblemCode(
    "host-conflict",
    Severity.WARNING,
    "Several VirtualServices claim the same host for sidecars. They are not merged: one of them counts.",
    "Put all routes of a host into one VirtualService.",
)
GATEWAY_WITHOUT_ROUTES: Final = ProblemCode(
    "gateway-without-routes",
    Severity.WARNING,
    "No VirtualService is bound to the Gateway, so it answers every request with 404.",
    "Add a VirtualService that names the Gateway under gateways.",
)
RULE_WITHOUT_HOST: Final = ProblemCode(
    "rule-without-host",
    Severity.WARNING,
    "A DestinationRule is for a host that no registry and no ServiceEntry has, so it has no effect at present.",
    "Correct the host, or start the service.",
)
REGEX_WHOLE_VALUE: Final = ProblemCode(
    "regex-whole-value",
    Severity.WARNING,
    "Envoy compares a regular expression with the whole value of a header, not with a part of it.",
    "Put .* on both sides to find the expression anywhere in the value.",
)
COOKIE_REGEX: Final = ProblemCode(
    "cookie-regex",
    Severity.WARNING,
    "Browsers separate cookies with a semicolon and a space; this expression does not allow for the space, so it finds "
    "the cookie only when it is the first one.",
    "Allow white space after the semicolon.",
)

CONFIG_CODES: Final = (
    YAML_SYNTAX,
    YAML_DUPLICATE_KEY,
    YAML_KEY,
    YAML_TAG,
    YAML_LIMIT,
    DOCUMENT_SHAPE,
    KIND_UNKNOWN,
    KIND_FOREIGN,
    KIND_NOT_SERVED,
    DUPLICATE_OBJECT,
    UNKNOWN_FIELD,
    WRONG_TYPE,
    UNKNOWN_VALUE,
    MISSING_FIELD,
    CONFLICTING_FIELDS,
    OUT_OF_RANGE,
    INVALID_DURATION,
    INVALID_HOST,
    INVALID_NAME,
    INVALID_ADDRESS,
    INVALID_HEADER,
    INVALID_REGEX,
    INVALID_VALUE,
    DUPLICATE_ENTRY,
    FIELD_NOT_SERVED,
    OLD_SPELLING,
    IGNORED_FIELD,
    NO_EFFECT,
    ROUTE_UNREACHABLE,
    PORT_NOT_SERVED,
    TOO_MANY_FINDINGS,
    UNKNOWN_HOST,
    AMBIGUOUS_HOST,
    UNKNOWN_SUBSET,
    UNKNOWN_GATEWAY,
    HOST_CONFLICT,
    GATEWAY_WITHOUT_ROUTES,
    RULE_WITHOUT_HOST,
    REGEX_WHOLE_VALUE,
    COOKIE_REGEX,
)

# --- resolve: what sources and objects say about each other -----------------------------------------------------

PORT_CONFLICT: Final = ProblemCode(
    "port-conflict",
    Severity.WARNING,
    "Two sources describe one port of a service differently. The first one counts, in order of source and age.",
    "Make the sources agree on the protocol of the port, or let only one of them describe the service.",
)
RESOLUTION_CONFLICT: Final = ProblemCode(
    "resolution-conflict",
    Severity.WARNING,
    "Two sources find the addresses of one service in different ways, and their endpoints cannot serve together. Only "
    "the endpoints of the first one count, in order of source and age.",
    "Give the service the same resolution everywhere, or let only one source describe it.",
)
SUBSET_ALREADY_DEFINED: Final = ProblemCode(
    "subset-already-defined",
    Severity.WARNING,
    "Two DestinationRules of one namespace define a subset of the same name for one host. The older rule's counts.",
    "Rename one of the subsets, or remove it.",
)

RESOLVE_CODES: Final = (PORT_CONFLICT, RESOLUTION_CONFLICT, SUBSET_ALREADY_DEFINED)


# --- server: what must not happen ---------------------------------------------------------------------------------

INTERNAL_ERROR: Final = ProblemCode(
    "internal-error",
    Severity.ERROR,
    "A part of Pilothouse failed where it must not. What was served before goes on.",
    "Undo the last change if it is the cause, and report the traceback in the control plane's log.",
)

SERVER_CODES: Final = (INTERNAL_ERROR,)

CODES: Final[tuple[ProblemCode, ...]] = (
    *CONFIG_CODES,
    *RESOLVE_CODES,
    *SOURCE_CODES,
    *REGISTRY_CODES,
    *SERVER_CODES,
)
"""Every code there is. A room that adds codes adds its tuple here."""
