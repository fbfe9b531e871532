"""The words of a verdict."""

import pytest

from pilothouse.kit.origin import FileOrigin
from pilothouse.simulate.verdict import (
    Answered,
    Faults,
    Forwarded,
    NoCluster,
    NoEndpoints,
    NoListener,
    NoRoute,
    NoVirtualHost,
    Outcome,
    Reached,
    Redirected,
    Share,
    Step,
    Undecided,
    Verdict,
)

V2 = Reached("outbound|9080|v2|reviews.service.mesh", ("10.0.0.1:80",))
WHOLE = Reached("outbound|9080||reviews.service.mesh", ("10.0.0.1:80",))


def sent(*shares: Share, **fields: object) -> Forwarded:
    return Forwarded(shares, "a", "/x", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (sent(Share(1, V2)), "subset v2 of reviews.service.mesh:9080"),
        (sent(Share(1, WHOLE)), "reviews.service.mesh:9080"),
        (sent(Share(1, Reached("inbound|9080||", ("127.0.0.1:8080",)))), "the app at 127.0.0.1:8080"),
        (sent(Share(1, Reached("PassthroughCluster", ("1.1.1.1:1",)))), "PassthroughCluster"),
        (
            sent(Share(1, V2), Share(2, NoEndpoints("BlackHoleCluster"), "b")),
            "33.3333% subset v2 of reviews.service.mesh:9080, 66.6667% 503: BlackHoleCluster has no endpoints as b",
        ),
        (sent(Share(1, WHOLE), rewritten=True, timeout_ms=1500), "reviews.service.mesh:9080, as a/x, within 1.5s"),
        (
            sent(Share(1, WHOLE), timeout_ms=250, faults=Faults(2000, 125_000, "503", 1_000_000)),
            "reviews.service.mesh:9080, within 250ms; 12.5% wait 2s, 100% fail with 503",
        ),
        (Redirected(301, "http://b/"), "301 to http://b/"),
        (Answered(204), "204"),
        (Answered(503, b"back at noon\n"), "503 'back at noon'"),
        (NoListener("10.0.0.1", 80), "no listener at 10.0.0.1:80"),
        (NoListener("10.0.0.1", 80, "t"), "no listener at 10.0.0.1:80: it waits for the route configuration t"),
        (NoVirtualHost("t", "b:80"), "404: t has no virtual host for b:80"),
        (NoRoute("h"), "404: h has no route for this request"),
        (NoCluster("c"), "503: there is no cluster c"),
        (Undecided("the simulation does not know x"), "undecided: the simulation does not know x"),
    ],
)
def test_outcome_is_one_line(outcome: Outcome, words: str) -> None:
    assert str(Verdict(outcome)) == words


def test_explanation_lists_the_steps_with_their_origins() -> None:
    steps = (Step("listener", "l"), Step("route", "r", (FileOrigin("f.yaml", 3, 5), FileOrigin("f.yaml", 1))))
    explained = Verdict(NoCluster("c"), steps).explain()
    assert explained == "listener l\nroute r (f.yaml:3:5, f.yaml:1)\n→ 503: there is no cluster c"
