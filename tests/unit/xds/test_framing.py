"""The wire format: what protobuf writes is read, and nothing that is cut or bent is read as something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.xds.framing import MalformedFrame, bytes_field, scan, text_field, varint


@given(st.lists(st.tuples(st.integers(1, 15), st.binary(max_size=300))))
def test_fields_are_found_where_they_were_written(fields: list[tuple[int, bytes]]) -> None:
    frame = b"".join(bytes_field(number, body) for number, body in fields)
    assert [(number, frame[start:end]) for number, _, start, end in scan(frame)] == fields


def test_numbers_and_fixed_widths_are_passed_over() -> None:
    frame = b"\x08\x96\x01" + b"\x0d1234" + b"\x1112345678" + text_field(4, "a")
    assert [number for number, *_ in scan(frame)] == [4]


@pytest.mark.parametrize(
    "frame",
    [b"\x12", b"\x12\x05abc", b"\x12" + b"\xff" * 11, b"\x0d12", b"\x0b", b"\x08\x80"],
    ids=["no length", "cut body", "endless number", "cut fixed width", "group", "cut number"],
)
def test_what_does_not_fit_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedFrame):
        list(scan(frame))


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_malformed(frame: bytes) -> None:
    try:
        found = list(scan(frame))
    except MalformedFrame:
        return
    assert all(begin < start <= end <= len(frame) for _, begin, start, end in found)


@given(st.integers(0, 2**63))
def test_a_number_takes_seven_bits_a_byte(value: int) -> None:
    assert len(varint(value)) == max(1, -(-value.bit_length() // 7))
