"""The table of kinds: complete, consistent, and every served kind has rules and a table of what is not served."""

from pilothouse.config.decode import decode_documents
from pilothouse.config.kinds import GROUPS, KINDS
from pilothouse.config.served import NOT_SERVED


def test_every_kind_is_in_a_group_of_istio_under_its_own_name() -> None:
    assert all(name == kind.name and kind.group in GROUPS for name, kind in KINDS.items())
    assert len({kind.plural for kind in KINDS.values()}) == len(KINDS)


def test_the_served_kinds_are_those_with_a_table_of_exceptions() -> None:
    assert {kind.spec for kind in KINDS.values() if kind.served} == set(NOT_SERVED)


def test_every_version_of_every_kind_is_either_decoded_or_said_not_to_be_served() -> None:
    for kind in KINDS.values():
        for version in kind.versions:
            text = f"apiVersion: {kind.group}/{version}\nkind: {kind.name}\nmetadata: {{name: x}}\nspec: {{a: 1}}\n"
            codes = {problem.code.code for problem in decode_documents(text, "x").problems}
            assert ("kind-not-served" in codes) is not kind.served
            assert ("unknown-field" in codes) is kind.served
