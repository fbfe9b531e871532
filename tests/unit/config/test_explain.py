"""The slow walk: all misfits, and a repaired copy that decodes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.config.decode import decode_special
from pilothouse.config.explain import MAX_FINDINGS, describe, explain
from pilothouse.config.virtualservice import VirtualService


def test_a_field_at_the_wrong_depth_is_told_where_it_belongs() -> None:
    value = {"http": [{"match": [{"timeout": "1s"}], "route": [{"host": "a.b"}], "hosts": ["x"]}]}
    remedies = {finding.path: finding.remedy for finding in explain(VirtualService, value, ("spec",)).findings}
    assert remedies[("spec", "http", 0, "match", 0, "timeout")].startswith("'timeout' is a field of spec.http[0]")
    assert remedies[("spec", "http", 0, "route", 0, "host")] == "'host' is a field of 'destination', one level down."
    assert remedies[("spec", "http", 0, "hosts")].startswith("'hosts' is a field of spec:")


def test_indices_of_good_items_survive_the_repair_of_bad_ones() -> None:
    value = {"http": [5, {"name": "second"}], "hosts": [1, "a.b"]}
    explained = explain(VirtualService, value, ())
    repaired = msgspec.convert(explained.repaired, VirtualService)
    assert repaired.http[1].name == "second"
    assert repaired.hosts == ("", "a.b")
    assert sorted(explained.damaged) == [("hosts", 0), ("http", 0)]


def test_no_more_is_explained_than_a_person_reads() -> None:
    explained = explain(VirtualService, {f"field{n}": n for n in range(1000)}, ())
    assert len(explained.findings) == MAX_FINDINGS


def test_values_are_described_in_a_few_words() -> None:
    assert describe(None) == "nothing"
    assert describe({}) == "an object with fields"
    assert describe([]) == "a list"
    assert describe(True) == "true"
    assert describe(1.5) == "the number 1.5"
    assert len(describe("x" * 1000)) < 60


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["hosts", "http", "match", "uri", "timeout", "headers", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=15,
)


@given(JSON)
def test_whatever_is_explained_decodes_afterwards(value: object) -> None:
    repaired = explain(VirtualService, value, ()).repaired
    assert isinstance(msgspec.convert(repaired, VirtualService, dec_hook=decode_special), VirtualService)
