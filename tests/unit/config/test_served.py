"""Fields that are not served yet: each pattern of each table leads to a field that exists, and is found when set."""

import msgspec
import pytest

from pilothouse.config.explain import explain
from pilothouse.config.schema import Message
from pilothouse.config.served import NOT_SERVED, check_served

PATTERNS = [(kind, pattern) for kind, table in NOT_SERVED.items() for pattern in table]
SAMPLES: dict[str, object] = {"defaultEndpoint": "x", "bytes": "eA==", "outlierDetectionHttpErrorCodes": [500]}
LISTS = ("tls", "tcp", "mirrors")


def sample(kind: type[Message], pattern: str) -> object:
    """A raw value of ``kind`` in which only what ``pattern`` names is set."""
    steps = pattern.split(".")
    last = steps[-1]
    empty_list = last in LISTS and (last != "tls" or kind.__name__ == "VirtualService")
    value: object = SAMPLES.get(last, [{}] if empty_list else {})
    for step in reversed(steps):
        name = step.removesuffix("[]")
        value = {name: [value] if step != name else value}
    return value


@pytest.mark.parametrize(("kind", "pattern"), PATTERNS)
def test_the_field_exists_and_is_found_where_it_is_set(kind: type[Message], pattern: str) -> None:
    raw = sample(kind, pattern)
    assert explain(kind, raw, ()).findings == []
    found = [finding.path for finding in check_served(msgspec.convert(raw, kind), ())]
    wanted = tuple(part for step in pattern.split(".") for part in ([step[:-2], 0] if step.endswith("[]") else [step]))
    assert wanted in found


@pytest.mark.parametrize("kind", NOT_SERVED)
def test_nothing_is_found_in_an_empty_object(kind: type[Message]) -> None:
    assert list(check_served(kind(), ())) == []
