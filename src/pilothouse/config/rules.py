"""Rules that hold wherever a host, name, port, label, header or duration stands. The ``validate_*`` modules use them.

Each check yields what is wrong with one value. Sources: istiod's ``pkg/config/validation`` as recorded (reference
§2 and §12), and what stock Envoy refuses.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pilothouse.config.duration import Duration
from pilothouse.config.findings import Finding, Path, shortened
from pilothouse.config.re2 import regex_fault
from pilothouse.config.schema import Percent, StringMatch
from pilothouse.kit import codes

_LABEL: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?", re.ASCII)
_WILDCARD_LABEL: Final = re.compile(r"\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?", re.ASCII)
_OBJECT_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_TAG_NAME: Final = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]", re.ASCII)
_MAX_HOST: Final = 255
_MAX_PREFIX: Final = 253
_MILLISECOND: Final = 1_000_000


def is_label(text: str) -> bool:
    """Whether ``text`` is one label of a DNS name (RFC 1123, upper case allowed as in Istio)."""
    return _LABEL.fullmatch(text) is not None


def is_ip(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_fault(host: str, *, wildcard: bool) -> str:
    """What is wrong with a DNS name, in a few words; empty if nothing is."""
    if not host:
        return "it is empty"
    if len(host) > _MAX_HOST:
        return f"it is longer than {_MAX_HOST} characters"
    first, *rest = host.split(".")
    if wildcard and "*" in first:
        if len(first) > 63 or not _WILDCARD_LABEL.fullmatch(first):
            return f"'{first}' is not a wildcard that can match"
        labels = rest
    else:
        labels = [first, *rest]
    for index, label in enumerate(labels):
        if label == "" and index == len(labels) - 1 and index:
            break
        if "*" in label:
            return "a '*' may only stand in its first label" if wildcard else "it must not have a wildcard"
        if not is_label(label):
            return f"'{label}' is not a DNS label" if label else "a label between two dots is empty"
    if labels and labels[-1].isdigit():
        return f"its last label '{labels[-1]}' is a number"
    return ""


def check_host(path: Path, host: str, *, wildcard: bool = True) -> Iterator[Finding]:
    """A DNS name, possibly with a wildcard as its first label."""
    fault = host_fault(host, wildcard=wildcard)
    if not fault:
        return
    if not host:
        yield Finding(codes.MISSING_FIELD, path, "the host is empty")
        return
    remedy = ""
    if "/" in host:
        remedy = "Write the host alone, without scheme and path."
    elif ":" in host and not is_ip(host):
        remedy = "Write the host without its port."
    yield Finding(codes.INVALID_HOST, path, f"'{host}' is not a valid host: {fault}", remedy)


def check_dns_label(path: Path, what: str, text: str) -> Iterator[Finding]:
    """A name that is one DNS label. ``what`` is the noun for it."""
    if not text:
        yield Finding(codes.MISSING_FIELD, path, f"the {what} is empty")
    elif not is_label(text):
        yield Finding(codes.INVALID_NAME, path, f"'{text}' is not a valid {what}")


def check_object_name(path: Path, name: str) -> Iterator[Finding]:
    """The name of an object: a DNS name in lower case."""
    if len(name) > 253 or not _OBJECT_NAME.fullmatch(name):
        remedy = "Use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit."
        yield Finding(codes.INVALID_NAME, path, f"'{name}' is not a valid object name", remedy)


def check_labels(path: Path, labels: Mapping[str, str]) -> Iterator[Finding]:
    """Label keys (``[prefix/]name``) and values, by Kubernetes' rules."""
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        good_prefix = not slash or (len(prefix) <= _MAX_PREFIX and all(map(is_label, prefix.split("."))))
        if not good_prefix or not _TAG_NAME.fullmatch(name):
            yield Finding(codes.INVALID_NAME, (*path, key), f"'{key}' is not a valid label key", at_key=True)
        if value and not _TAG_NAME.fullmatch(value):
            remedy = "Use letters, digits, '-', '_' and '.', at most 63 of them."
            yield Finding(codes.INVALID_NAME, (*path, key), f"'{value}' is not a valid label value", remedy)


def check_port(path: Path, number: int) -> Iterator[Finding]:
    """A port number from 1 to 65535."""
    if not 1 <= number <= 65535:
        yield Finding(codes.OUT_OF_RANGE, path, f"the port {number} is not between 1 and 65535")


def check_percent(path: Path, value: float) -> Iterator[Finding]:
    """A percentage from 0 to 100."""
    if not 0 <= value <= 100:
        yield Finding(codes.OUT_OF_RANGE, path, f"{value:g} is not a percentage between 0 and 100")


def check_percentage(path: Path, percentage: Percent | None) -> Iterator[Finding]:
    """A fraction of requests: 0, or at least Envoy's finest step of a ten-thousandth of a percent."""
    if percentage is None:
        return
    where = (*path, "value")
    if 0 < percentage.value < 0.0001:
        yield Finding(codes.OUT_OF_RANGE, where, f"{percentage.value:g} percent is finer than 0.0001 percent")
    else:
        yield from check_percent(where, percentage.value)


def check_not_negative(path: Path, value: int) -> Iterator[Finding]:
    """A count."""
    if value < 0:
        yield Finding(codes.OUT_OF_RANGE, path, f"{value} is negative", "Use 0 or more.")


def check_duration(path: Path, duration: Duration | None) -> Iterator[Finding]:
    """At least a millisecond and of whole milliseconds, if it is set at all."""
    if duration is None:
        return
    if duration < _MILLISECOND:
        remedy = "Remove the field to have no limit." if duration == 0 else ""
        yield Finding(codes.INVALID_DURATION, path, f"the duration {duration} is shorter than 1ms", remedy)
    elif duration % _MILLISECOND:
        yield Finding(codes.INVALID_DURATION, path, f"the duration {duration} has parts finer than a millisecond")


def check_regex(path: Path, expression: str) -> Iterator[Finding]:
    """An expression in RE2, not empty."""
    if not expression:
        yield Finding(codes.INVALID_REGEX, path, "the regular expression is empty")
        return
    fault = regex_fault(expression)
    if fault:
        remedy = "Write '.*' to match everything." if expression == "*" else ""
        yield Finding(codes.INVALID_REGEX, path, f"'{shortened(expression, 60)}' is not valid RE2: {fault}", remedy)


def check_string_match(path: Path, match: StringMatch | None, *, empty_prefix: bool = False) -> Iterator[Finding]:
    """At most one kind of comparison, a prefix that is not empty, an expression that is RE2."""
    if match is None:
        return
    given = [name for name in ("exact", "prefix", "regex") if getattr(match, name) is not None]
    if len(given) > 1:
        message = f"{' and '.join(given)} exclude each other"
        yield Finding(codes.CONFLICTING_FIELDS, path, message, "Keep one of them.")
    if match.prefix == "" and not empty_prefix:
        remedy = "Remove the match, or write '{}' to ask only that the value is present."
        yield Finding(codes.INVALID_VALUE, (*path, "prefix"), "the prefix is empty", remedy)
    if match.regex is not None:
        yield from check_regex((*path, "regex"), match.regex)


def check_export_to(path: Path, export_to: Sequence[str], namespace: str, *, hidden: bool = False) -> Iterator[Finding]:
    """``*``, ``.`` or namespaces, without repetition; ``hidden`` also allows ``~`` (nobody)."""
    seen: set[str] = set()
    for index, entry in enumerate(export_to):
        where, meant = (*path, index), namespace if entry == "." else entry
        if meant in seen:
            yield Finding(codes.DUPLICATE_ENTRY, where, f"'{entry}' is exported to twice")
        seen.add(meant)
        if entry in ("*", ".") or (entry == "~" and hidden):
            continue
        if entry == "~":
            yield Finding(codes.INVALID_VALUE, where, "'~' (nobody) is only for a ServiceEntry")
        else:
            yield from check_dns_label(where, "namespace", entry)
    for word, meaning in (("*", "everybody"), ("~", "nobody")):
        if word in export_to and len(set(export_to)) > 1:
            message = f"'{word}' ({meaning}) cannot be combined with other entries"
            yield Finding(codes.CONFLICTING_FIELDS, path, message, f"Keep '{word}' alone, or name the namespaces.")
