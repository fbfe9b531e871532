"""Prometheus text, line by line. What the pages as a whole say is in ``test_admin``."""

from pilothouse.server.metrics import Family


def test_a_metric_without_a_label_is_one_line_under_its_exact_name() -> None:
    family = Family("pilot_xds_write_timeout", "counter", "Slow proxies.", {"": 3})
    assert list(family.lines()) == [
        "# HELP pilot_xds_write_timeout Slow proxies.",
        "# TYPE pilot_xds_write_timeout counter",
        "pilot_xds_write_timeout 3",
    ]


def test_labels_are_sorted_and_escaped() -> None:
    family = Family("pilot_xds", "gauge", "Proxies.", {'b"\\\n': 1, "a": 2}, "version")
    assert list(family.lines())[2:] == ['pilot_xds{version="a"} 2', 'pilot_xds{version="b\\"\\\\\\n"} 1']


def test_large_counts_keep_their_digits() -> None:
    assert list(Family("bytes", "counter", "Bytes.", {"": 1_234_567_890}).lines())[2] == "bytes 1234567890"
