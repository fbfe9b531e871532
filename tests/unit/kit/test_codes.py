"""The catalogue of Problem codes: unique, spelt alike, and made of whole sentences."""

import re

import pytest

from pilothouse.kit import codes, registry_codes, source_codes
from pilothouse.kit.problem import ProblemCode


def test_every_code_of_the_modules_is_in_the_catalogue_once() -> None:
    modules = (codes, registry_codes, source_codes)
    defined = [value for module in modules for value in vars(module).values() if isinstance(value, ProblemCode)]
    assert sorted(code.code for code in codes.CODES) == sorted(code.code for code in defined)
    assert len({code.code for code in codes.CODES}) == len(codes.CODES)


@pytest.mark.parametrize("code", codes.CODES, ids=lambda code: code.code)
def test_a_code_is_a_word_to_grep_for_with_a_cause_and_a_remedy(code: ProblemCode) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code.code)
    for sentence in (code.cause, code.remedy):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
