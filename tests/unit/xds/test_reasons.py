from pilothouse.xds.reasons import REASON_LIMIT, readable_reason


def test_the_resource_that_envoy_prints_in_front_of_the_reason_is_left_out():
    text = (
        'goo.gle/debugstr  \nname: "late"\ntype: EDS\nalt_stat_name: "late;"\n'
        ": Proto constraint validation failed (ClusterValidationError.RingHashLbConfig: value must be less than 8)"
    )
    assert readable_reason(text).startswith("Proto constraint validation failed (ClusterValidationError")


def test_a_plain_reason_stays_and_becomes_one_line():
    assert readable_reason("listener(s) a: cannot bind\nb: cannot bind") == "listener(s) a: cannot bind b: cannot bind"


def test_a_dump_without_a_reason_is_better_than_nothing():
    assert readable_reason("goo.gle/debugstr name") == "goo.gle/debugstr name"


def test_a_long_reason_is_cut():
    assert len(readable_reason("x" * 10_000)) == REASON_LIMIT
