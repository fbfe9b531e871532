"""The benchmark's counters, at a size that every run can afford, against what was committed."""

import json

from bench.run import CI_SIZE, EXPECTED, measure


def test_every_change_costs_exactly_the_work_that_was_committed():
    found = {row.change: row.counts for row in measure(*CI_SIZE)}
    expected = json.loads(EXPECTED.read_text())
    assert found == expected, "rewrite it with `python -m bench.run --update`, and give the reason in the commit"


def test_the_committed_counters_say_what_the_design_promises():
    counts = json.loads(EXPECTED.read_text())
    services, proxies = CI_SIZE

    def compiled(change: str) -> dict[str, int]:
        return {name: n for name, n in counts[change].items() if name.startswith("compiled ")}

    assert compiled("nothing") == {}
    assert compiled("one endpoint") == {"compiled EDS": 1}
    assert compiled("one endpoint of a service with subsets") == {"compiled EDS": 2}
    assert compiled("one VirtualService") == {"compiled VHDS": 1}
    assert counts["one VirtualService"]["resources VHDS"] == proxies
    assert not {t for t in ("CDS", "EDS", "LDS", "RDS") if counts["one VirtualService"].get(f"responses {t}")}
    assert counts["one service gone"].get("resources CDS", 0) == 0
    assert counts["all connect, from nothing"]["compiled VHDS"] == services + 1
