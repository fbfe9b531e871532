"""What is read from Envoy's answers and from its access log."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilothouse.agent.admin import AdminUnavailable
from pilothouse.demo.check_envoy import EnvoyWitness, Mark, decode_effects, decode_ejected, decode_line, until

PAGE = Path(__file__).parents[3] / "docs" / "reading-a-failed-request.md"
REFUSED = (
    '[2026-01-01T09:26:53.589Z] "GET /slow?seconds=1 HTTP/1.1" 503 UO upstream_reset_before_response_started{overflow} '
    '- "-" 0 81 0 - "127.0.0.1" "curl/8.5.0" "3f0c" "localhost:8080" "-" outbound|9080||productpage.service.mesh '
    "- 127.0.0.1:8080 127.0.0.1:51234 - -\n"
)
PLAIN = (
    '[2026-01-01T09:26:54.589Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 5000 9 8 "127.0.0.1" "Mozilla/5.0 (X11)" '
    '"3f0d" "localhost:8080" "127.44.0.2:9080" outbound|9080||productpage.service.mesh 127.0.0.1:4 127.0.0.1:8080 '
    "127.0.0.1:51235 - default\n"
)
CUT = PLAIN.replace(" 200 - ", " 504 UT,DC ").replace("- default", "- a route")


def test_a_refused_request_is_read_with_its_flag() -> None:
    line = decode_line(REFUSED)
    assert line is not None
    assert (line.status, line.flags, line.path) == (503, {"UO"}, "/slow?seconds=1")
    assert line.details == "upstream_reset_before_response_started{overflow}"
    assert line.cluster == "outbound|9080||productpage.service.mesh"
    assert line.text == REFUSED.rstrip("\n")


def test_a_line_without_flags_has_none_and_one_with_several_has_each() -> None:
    plain, cut = decode_line(PLAIN), decode_line(CUT)
    assert plain is not None
    assert cut is not None
    assert (plain.flags, plain.user_agent, plain.route) == (frozenset(), "Mozilla/5.0 (X11)", "default")
    assert (cut.flags, cut.route) == ({"UT", "DC"}, "a route")


def test_the_lines_that_the_documentation_shows_are_read() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("[2")]
    flags = [one.flags for line in lines if (one := decode_line(line))]
    assert len(flags) == len(lines)
    assert frozenset[str]().union(*flags) == {"UO", "UH", "UF", "URX", "UC", "UT", "NR", "DC", "DI", "FI"}


@pytest.mark.parametrize("text", ["", "\n", "[2026] starting", PLAIN[: len(PLAIN) // 2]])
def test_anything_else_is_no_request(text: str) -> None:
    assert decode_line(text) is None


def istio(name: str) -> dict[str, object]:
    return {"filter_metadata": {"istio": {"config": f"/apis/networking.istio.io/v1/namespaces/default/{name}"}}}


def test_effects_are_policies_of_active_clusters_and_rules_of_routes() -> None:
    def cluster(name: str, **policy: object) -> dict[str, object]:
        return {"cluster": {"name": name, **policy}}

    limited = cluster("limited", circuit_breakers={"thresholds": [{"max_connections": 1, "max_requests": 9}]})
    clusters = {
        "dynamic_active_clusters": [limited, cluster("ejecting", outlier_detection={}), {"cluster": {}}],
        "dynamic_warming_clusters": [cluster("warming", outlier_detection={})],
    }
    routes = [{"metadata": istio("virtual-service/ratings")}, {"metadata": {}}, {}]
    tables = {"dynamic_route_configs": [{"route_config": {"virtual_hosts": [{"routes": routes}, {}]}}, {}]}
    body = json.dumps({"configs": [{"@type": "bootstrap"}, clusters, tables]}).encode()
    assert decode_effects(body) == {
        "limited max_connections 1",
        "ejecting outlier_detection",
        "virtual-service/ratings",
    }
    assert decode_effects(b"{}") == frozenset()


def test_ejected_endpoints_are_those_of_one_cluster_with_a_failed_outlier_check() -> None:
    def host(port: int, *, ejected: bool) -> dict[str, object]:
        health = {"failed_outlier_check": True} if ejected else {"eds_health_status": "HEALTHY"}
        address = {"socket_address": {"address": "127.44.0.2", "port_value": port}}
        return {"address": address, "health_status": health}

    mine = {"name": "mine", "host_statuses": [host(1, ejected=True), host(2, ejected=False)]}
    other = {"name": "other", "host_statuses": [host(3, ejected=True)]}
    body = json.dumps({"cluster_statuses": [mine, other, {"name": "empty"}]}).encode()
    assert decode_ejected(body, "mine") == {"127.44.0.2:1"}
    assert decode_ejected(body, "empty") == frozenset()


async def respond(request: web.Request) -> web.Response:
    answers = {"/stats": (200, '{"stats": [{"name": "a|b.c", "value": 7}]}'), "/config_dump": (200, "<html>")}
    status, text = answers.get(request.path, (404, "nothing"))
    seen = request.query.get("filter", "")
    return web.Response(status=status, text=text, headers={"x-filter": seen})


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[EnvoyWitness]:
    app = web.Application()
    app.router.add_get("/{rest:.*}", respond)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield EnvoyWitness(session, f"127.0.0.1:{server.port}", tmp_path / "access.log")


async def test_a_counter_is_found_by_its_exact_name_and_is_0_before_envoy_has_it(witness: EnvoyWitness) -> None:
    assert await witness.counter("a|b.c") == 7
    assert await witness.counter("a|b.d") == 0


async def test_an_answer_that_is_no_answer_is_said(witness: EnvoyWitness) -> None:
    with pytest.raises(AdminUnavailable, match="answered 404 for /clusters"):
        await witness.ejected("any")
    with pytest.raises(AdminUnavailable, match="unknown form"):
        await witness.effects()


async def test_only_lines_after_the_mark_are_read(witness: EnvoyWitness, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(PLAIN)
    mark = await witness.mark()
    assert await witness.lines(mark) == ()
    with log.open("a") as file:
        file.write(REFUSED + PLAIN[:50])
    assert [line.status for line in await witness.lines(mark)] == [503]


async def test_a_log_that_begins_after_the_mark_is_read_whole(witness: EnvoyWitness, tmp_path: Path) -> None:
    mark = await witness.mark()
    assert mark == Mark()
    (tmp_path / "access.log").write_text(PLAIN + "not a request\n" + REFUSED)
    assert [line.status for line in await witness.lines(mark)] == [200, 503]


async def test_lines_are_found_on_both_sides_of_a_rotation(witness: EnvoyWitness, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(PLAIN)
    mark = await witness.mark()
    with log.open("a") as file:
        file.write(REFUSED)
    log.rename(tmp_path / "access.log.1")
    log.write_text(CUT)
    assert [line.status for line in await witness.lines(mark)] == [503, 504]


async def test_wanted_lines_are_waited_for_and_given_up_on(witness: EnvoyWitness, tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(PLAIN + REFUSED)
    found = await witness.lines_where(Mark(), lambda line: "UO" in line.flags, count=1, within=5.0)
    assert [line.status for line in found] == [503]
    found = await witness.lines_where(Mark(), lambda line: "UO" in line.flags, count=2, within=0.0)
    assert [line.status for line in found] == [503]


async def test_until_asks_again_and_gives_up_with_none() -> None:
    answers = iter([None, None, "there"])

    async def probe() -> str | None:
        return next(answers, None)

    assert await until(probe, 10.0) == "there"
    assert await until(probe, 0.0) is None
