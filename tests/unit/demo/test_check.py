"""Rows are played on a stand-in for the mesh: real loopback servers that obey the rule files in a folder.

It stands for what Envoy does with each rule, and for what Envoy then counts and logs; its levers make it disobey.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilothouse.demo.check import ROW_NAMES, Ground, Place, play_rows
from pilothouse.demo.check_rows import Patience
from pilothouse.demo.check_table import CheckRow
from pilothouse.kit.errors import SettingsError

REVIEWS = "outbound|9080|{}|reviews.service.mesh"
PRODUCTPAGE = "outbound|9080||productpage.service.mesh"
CIRCUIT_BREAKER = "destination-rule/productpage-circuit-breaker"
EJECTION = "destination-rule/productpage-ejection"
LINE = (
    '[2026-01-01T00:00:00.000Z] "GET {path} HTTP/1.1" {status} {flags} details - "-" 0 91 7 - "127.0.0.1" '
    '"{agent}" "c0ffee" "{authority}" "-" {cluster} - 127.0.0.1:8080 127.0.0.1:5555 - default\n'
)


@dataclass
class FakeEnvoy:
    """Counters, ejected endpoints and an access log, with an admin interface that tells them."""

    mesh: "FakeMesh"
    log: Path
    stats: Counter[str] = field(default_factory=Counter)

    def count(self, cluster: str, what: str) -> None:
        self.stats[f"cluster.{cluster};.{what}"] += 1

    def write(self, path: str, status: int, flags: str, *, agent: str = "any", authority: str = "any") -> None:
        with self.log.open("a") as file:
            values = {"path": path, "status": status, "flags": flags, "agent": agent, "authority": authority}
            file.write(LINE.format(**values, cluster="any"))

    def admin(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/stats", self.tell_stats)
        app.router.add_get("/config_dump", self.tell_effects)
        app.router.add_get("/clusters", self.tell_clusters)
        return app

    async def tell_stats(self, request: web.Request) -> web.Response:
        matching = [name for name in self.stats if re.search(request.query["filter"], name)]
        return web.json_response({"stats": [{"name": name, "value": self.stats[name]} for name in matching]})

    async def tell_effects(self, request: web.Request) -> web.Response:
        rules = set() if self.mesh.refuses_rules else self.mesh.objects()
        routes = [{"metadata": carried(rule)} for rule in rules if rule.startswith("virtual-service/")]
        cluster: dict[str, object] = {"name": PRODUCTPAGE}
        if CIRCUIT_BREAKER in rules:
            cluster["circuit_breakers"] = {"thresholds": [{"max_connections": 1}]}
        if EJECTION in rules:
            cluster["outlier_detection"] = {"consecutive_5xx": 1}
        active = {"dynamic_active_clusters": [{"cluster": cluster}]}
        table = {"route_config": {"virtual_hosts": [{"name": "any", "routes": routes}]}}
        return web.json_response({"configs": [active, {"dynamic_route_configs": [table]}]})

    async def tell_clusters(self, request: web.Request) -> web.Response:
        address = {"socket_address": {"address": "127.44.0.2", "port_value": 9080}}
        health = {"failed_outlier_check": True} if self.mesh.is_ejected() else {}
        status = {"name": PRODUCTPAGE, "host_statuses": [{"address": address, "health_status": health}]}
        return web.json_response({"cluster_statuses": [status]})


def carried(name: str) -> dict[str, object]:
    return {"filter_metadata": {"istio": {"config": f"/apis/networking.istio.io/v1/namespaces/default/{name}"}}}


@dataclass
class FakeMesh:
    """The folder, three Envoys and the gateway's traffic. ``versions`` is what the canary serves, over and over."""

    folder: Path
    logs: Path
    refuses_rules: bool = False
    ejects_for_ever: bool = False
    logs_nothing: bool = False
    loses_counts: bool = False
    loses_reviews: bool = False
    versions: list[str] = field(default_factory=lambda: ["v1"] * 9 + ["v2"])
    served: int = 0
    slow: int = 0
    ejected: bool = False
    awaited: int = 0
    known: dict[tuple[str, ...], set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.envoys = {name: FakeEnvoy(self, self.logs / name) for name in ("gateway", "productpage", "reviews")}

    def objects(self) -> set[str]:
        """What the files in the folder define; each file is read once."""
        files = tuple(sorted(str(path) for path in self.folder.glob("*.yaml")))
        if files not in self.known:
            kinds = {"VirtualService": "virtual-service", "DestinationRule": "destination-rule"}
            documents = [one for file in files for one in yaml.safe_load_all(Path(file).read_text())]
            self.known[files] = {f"{kinds[one['kind']]}/{one['metadata']['name']}" for one in documents if one}
        return self.known[files]

    def is_ejected(self) -> bool:
        if EJECTION not in self.objects():
            self.ejected = self.ejected and self.ejects_for_ever
        return self.ejected

    def write(self, envoy: str, path: str, status: int, flags: str, **fields: str) -> None:
        if not self.logs_nothing:
            self.envoys[envoy].write(path, status, flags, **fields)

    async def converged(self) -> None:
        self.awaited += 1

    def gateway(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/productpage", self.page)
        app.router.add_get("/slow", self.slow_page)
        app.router.add_get("/status/500", self.error)
        return app

    async def page(self, request: web.Request) -> web.Response:
        if self.is_ejected():
            self.write("gateway", "/productpage", 503, "UH")
            return web.Response(status=503, text="no healthy upstream")
        agent = request.headers["user-agent"]
        subset, version = self.choose(agent)
        if not self.loses_counts:
            self.envoys["productpage"].count(REVIEWS.format(subset), "upstream_rq_total")
        jason = "user=jason" in request.headers.get("cookie", "")
        if jason and "virtual-service/ratings" in self.objects():
            self.envoys["productpage"].count(REVIEWS.format("v2"), "upstream_rq_timeout")
            self.write("productpage", "/reviews/0", 504, "UT", agent=agent)
            self.write("reviews", "/ratings/0", 200, "DI", agent=agent)
            return web.Response(text="<p>Reviews are unavailable</p>")
        if self.loses_reviews:
            return web.Response(text='<section class="card" id="reviews" data-status="503">')
        stars = "" if version == "v1" else '<p class="stars black">'
        return web.Response(text=f'<section data-version="{version}">{stars}</section>')

    def choose(self, agent: str) -> tuple[str, str]:
        """The subset and the version that a request for reviews goes to."""
        self.served += 1
        rules = self.objects()
        if "virtual-service/reviews-v2-launch" in rules:
            version = "v2" if re.search("iPod|iPhone|iPad", agent) else "v1"
        elif "virtual-service/reviews-canary" in rules:
            version = self.versions[self.served % len(self.versions)]
        elif "virtual-service/reviews" in rules:
            version = "v2"
        else:
            return "", ("v1", "v2", "v3")[self.served % 3]
        return version, version

    async def slow_page(self, request: web.Request) -> web.Response:
        limited = CIRCUIT_BREAKER in self.objects()
        if limited and self.slow == 2:
            self.envoys["gateway"].count(PRODUCTPAGE, "upstream_rq_pending_overflow")
            self.write("gateway", request.path_qs, 503, "UO")
            return web.Response(status=503, text="reset reason: overflow")
        self.slow += 1
        await asyncio.sleep(0.05)
        self.slow -= 1
        return web.Response(text="slow")

    async def error(self, request: web.Request) -> web.Response:
        self.ejected = self.ejects_for_ever or EJECTION in self.objects()
        return web.Response(status=500)


@dataclass
class Run:
    """A mesh to be checked, and the rows that were reported."""

    mesh: FakeMesh
    ground: Ground
    rows: list[CheckRow] = field(default_factory=list)

    async def check(self, broken: str | None = None) -> bool:
        return await play_rows(self.ground, broken=broken, report=self.rows.append)

    @property
    def failed(self) -> list[str]:
        return [row.name for row in self.rows if not row.passed]

    def row(self, name: str) -> CheckRow:
        return next(row for row in self.rows if row.name == name)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    folder, logs = tmp_path / "config", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    mesh = FakeMesh(folder, logs)
    gateway = TestServer(mesh.gateway())
    admins = {name: TestServer(envoy.admin()) for name, envoy in mesh.envoys.items()}
    for server in (gateway, *admins.values()):
        await server.start_server()
    places = {name: Place(f"127.0.0.1:{admins[name].port}", envoy.log) for name, envoy in mesh.envoys.items()}
    patience = Patience(taken=0.5, logged=0.2, ejected=0.2)
    base = Ground("service.mesh", f"http://127.0.0.1:{gateway.port}", folder, **places, converged=mesh.converged)
    ground = Ground(base.domain, base.gateway_url, folder, **places, converged=mesh.converged, patience=patience)
    yield Run(mesh, ground)
    for server in (gateway, *admins.values()):
        await server.close()


async def test_every_row_passes_on_a_mesh_that_obeys_and_no_rule_is_left_behind(run: Run) -> None:
    assert await run.check(), run.rows
    assert [row.name for row in run.rows] == list(ROW_NAMES)
    assert list(run.mesh.folder.iterdir()) == []
    assert run.mesh.awaited == 2 * len(ROW_NAMES)


async def test_every_row_carries_evidence_from_envoy(run: Run) -> None:
    await run.check()
    assert "devices v2 +12; others v1 +12" in run.row("ab-test").evidence
    assert "upstream_rq_pending_overflow +18; 18 access log lines with flag UO" in run.row("circuit-breaker").evidence
    assert "failed_outlier_check at 127.44.0.2:9080; 1 access log lines" in run.row("ejection").evidence
    assert "upstream_rq_timeout +1, 1 line with flag UT" in run.row("fault").evidence
    assert "v1 +450, v2 +50" in run.row("canary").evidence


async def test_the_splits_are_printed(run: Run) -> None:
    await run.check()
    assert run.row("circuit-breaker").seen == "200: 2, 503: 18"
    assert run.row("canary").seen == "v1: 450, v2: 50"
    assert run.row("ejection").seen == "500, then 503 (no healthy upstream); rule deleted: 200"


@pytest.mark.parametrize("name", ROW_NAMES)
async def test_without_its_rule_exactly_that_row_fails(run: Run, name: str) -> None:
    assert not await run.check(name)
    assert run.failed == [name]


async def test_an_unknown_row_is_refused_before_anything_is_played(run: Run) -> None:
    with pytest.raises(SettingsError, match="no row is called 'canery'; the rows are ab-test, circuit-breaker"):
        await run.check("canery")
    assert run.rows == []


async def test_rules_that_do_not_reach_envoy_fail_their_rows_and_are_taken_back(run: Run) -> None:
    run.mesh.refuses_rules = True
    assert not await run.check()
    assert run.failed == list(ROW_NAMES)
    assert run.row("fault").seen == "talk-fault.yaml did not reach the Envoys concerned within 0.5 s"
    assert list(run.mesh.folder.iterdir()) == []


async def test_a_file_of_the_user_is_never_overwritten(run: Run) -> None:
    own = run.mesh.folder / "talk-canary.yaml"
    own.write_text("")
    assert not await run.check()
    assert run.failed == ["canary"]
    assert "is there already" in run.row("canary").seen
    assert own.read_text() == ""


async def test_an_ejection_that_outlives_its_rule_fails_the_row(run: Run) -> None:
    run.mesh.ejects_for_ever = True
    await run.check()
    assert not run.row("ejection").passed
    assert run.row("ejection").seen.endswith("rule deleted: 503")


async def test_statuses_without_flags_in_the_access_log_are_not_enough(run: Run) -> None:
    run.mesh.logs_nothing = True
    await run.check()
    assert run.failed == ["circuit-breaker", "ejection", "fault"]


async def test_pages_without_counters_that_agree_are_not_enough(run: Run) -> None:
    run.mesh.loses_counts = True
    await run.check()
    assert run.failed == ["ab-test", "canary"]


async def test_a_page_that_lost_its_reviews_is_told_with_what_was_answered_instead(run: Run) -> None:
    run.mesh.loses_reviews = True
    await run.check()
    assert run.row("ab-test").seen == "devices no reviews (503): 12; others no reviews (503): 12"


@pytest.mark.parametrize(("newer", "passed"), [(22, False), (23, True), (77, True), (78, False)])
async def test_the_canary_has_bounds(run: Run, newer: int, passed: bool) -> None:
    run.mesh.versions = ["v2"] * newer + ["v1"] * (500 - newer)
    await run.check()
    assert run.row("canary").passed is passed
    assert f"v2: {newer}" in run.row("canary").seen


async def test_a_row_that_cannot_ask_envoy_says_so_and_the_next_row_is_played(run: Run) -> None:
    ground = run.ground
    nowhere = Place("127.0.0.1:1", ground.reviews.access_log)
    places = {"gateway": ground.gateway, "productpage": ground.productpage, "reviews": nowhere}
    parts = (ground.domain, ground.gateway_url, ground.config_folder)
    run.ground = Ground(*parts, **places, converged=ground.converged, patience=ground.patience)
    assert not await run.check()
    assert run.failed == ["fault"]
    assert "admin interface at 127.0.0.1:1 does not answer" in run.row("fault").seen


async def test_a_gateway_that_is_gone_fails_rows_and_is_no_crash(run: Run) -> None:
    ground = run.ground
    places = {"gateway": ground.gateway, "productpage": ground.productpage, "reviews": ground.reviews}
    url = "http://127.0.0.1:1"
    run.ground = Ground(ground.domain, url, ground.config_folder, **places, converged=ground.converged)
    assert not await run.check()
    assert run.failed == list(ROW_NAMES)
    assert "no answer (" in run.row("ab-test").seen
