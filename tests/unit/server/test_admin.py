"""The admin pages over a control plane with two proxies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pytest
from starlette.applications import Starlette

from pilothouse.aio.clock import SystemClock
from pilothouse.config.decode import decode_documents
from pilothouse.kit.origin import FileOrigin, RegistryOrigin
from pilothouse.kit.problem import Problem
from pilothouse.kit.source_codes import FILE_EMPTY
from pilothouse.model.proxy import InboundPort, Workload
from pilothouse.model.registration import EnvoyState
from pilothouse.model.service import Port, Service, ServiceDelta, ServiceKey
from pilothouse.model.world import ConfigDelta
from pilothouse.registry.leases import Suspect
from pilothouse.server.admin import AdminApi
from pilothouse.server.agents import AgentBoard, AgentReport
from pilothouse.server.readmodel import Status
from pilothouse.server.views import LiveState

from .support import NODE, Plane, Reply, a_plane, get, until

TOKEN = "a-secret-of-this-test"
ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews.service.mesh]
  http: [{route: [{destination: {host: reviews.service.mesh}}]}]
"""


@dataclass
class Admin:
    plane: Plane
    board: AgentBoard
    app: Starlette

    async def get(self, path: str) -> Reply:
        return await get(self.app, path, authorization=f"Bearer {TOKEN}")

    async def status(self) -> Status:
        return msgspec.json.decode((await self.get("/api/status")).body, type=Status)


@asynccontextmanager
async def an_admin(*lost: Suspect) -> AsyncIterator[Admin]:
    async with a_plane() as plane:
        board, clock = AgentBoard(), SystemClock()
        live = LiveState(plane.pipeline, plane.ads, board, plane.counters, clock, clock.wall(), lambda: lost)
        yield Admin(plane, board, AdminApi(live, lambda: {"CDS": 3}).application(TOKEN, "localhost"))


async def test_ready_says_what_is_waited_for_until_proxies_are_answered() -> None:
    async with an_admin() as admin:
        reply = await get(admin.app, "/ready")
        assert (reply.status, reply.body) == (503, b"not ready: waiting for the first snapshot\n")
        admin.plane.submit("a")
        await until(lambda: admin.plane.pipeline.ready)
        assert (await get(admin.app, "/ready")).status == 200


async def test_version_names_the_product() -> None:
    async with an_admin() as admin:
        assert (await get(admin.app, "/version")).body.startswith(b"pilothouse ")


async def test_status_shows_each_type_of_each_proxy_with_its_reason() -> None:
    async with an_admin() as admin:
        admin.plane.submit("a")
        client = admin.plane.delta()
        await client.ask()
        response = await client.answer()
        (proxy,) = (await admin.status()).proxies
        assert (proxy.id, proxy.name, proxy.namespace, proxy.role) == (NODE, "reviews-v1", "default", "sidecar")
        assert proxy.connected_since is not None
        cds = proxy.types[0]
        assert (cds.type, cds.state, cds.outstanding) == ("CDS", "WARMING", ("a",))
        assert cds.since >= proxy.connected_since
        assert {t.type: t.state for t in proxy.types}["LDS"] == "NOT SENT"
        assert all(t.since >= proxy.connected_since for t in proxy.types)
        await client.acknowledge(response, error="Error adding cluster a: bad")
        await until(lambda: admin.plane.counters.refusals["CDS"] == 1)
        (refused,) = [t for t in (await admin.status()).proxies[0].types if t.type == "CDS"]
        assert refused.state == "REFUSED"
        assert [(r.name, r.reason, r.origins) for r in refused.refusals] == [
            ("a", "Error adding cluster a: bad", ("test: a",))
        ]


async def test_status_shows_the_newer_of_two_streams_of_a_node() -> None:
    async with an_admin() as admin:
        admin.plane.submit("a")
        for client in (parent := admin.plane.delta(), admin.plane.delta()):
            await client.ask()
            answer = await client.answer()
            if client is parent:
                await client.acknowledge(answer)
                await until(lambda: admin.plane.ads.streams[0].status()[0].state == "SYNCED")
        (proxy,) = (await admin.status()).proxies
        assert (proxy.streams, proxy.types[0].state) == (2, "WARMING")


async def test_status_joins_proxies_with_their_agents_and_shows_agents_whose_envoy_is_missing() -> None:
    async with an_admin() as admin:
        admin.plane.submit("a")
        client = admin.plane.delta()
        await client.ask()
        await client.answer()
        lonely = "sidecar~127.0.0.12~ratings-v1.default~mesh"
        for serial, node in enumerate((NODE, lonely)):
            admin.board.connect(AgentReport(node, pid=7, workload_id="w", serial=serial))
            admin.board.heard(node, serial, 5.0, EnvoyState(live=True, ready=False, reason="warming"))
        without, with_stream = (await admin.status()).proxies
        assert (without.name, without.connected_since, without.types) == ("ratings-v1", None, ())
        assert with_stream.agent is not None
        assert with_stream.agent.envoy == EnvoyState(live=True, ready=False, reason="warming")


async def test_status_lists_problems_with_origin_and_way_out() -> None:
    async with an_admin() as admin:
        found = Problem(FILE_EMPTY, "spec", "the file is empty", FileOrigin("a.yaml", 3, 1, "Gateway", "default", "g"))
        admin.plane.pipeline.submit(ConfigDelta("files", (), (found,)))
        await until(lambda: admin.plane.pipeline.ready)
        (problem,) = (await admin.status()).problems
        assert (problem.severity, problem.code, problem.origin, problem.subject) == (
            "warning",
            "file-empty",
            "a.yaml:3:1",
            "Gateway default/g",
        )
        assert problem.remedy == FILE_EMPTY.remedy


async def test_debug_pages_have_istiods_shapes() -> None:
    async with an_admin() as admin:
        admin.plane.submit("reviews.service.mesh")
        admin.plane.pipeline.submit(ConfigDelta("files", decode_documents(ROUTE, "a.yaml").objects))
        client = admin.plane.delta()
        await client.ask()
        await client.acknowledge(await client.answer())
        await until(lambda: admin.plane.ads.streams[0].status()[0].state == "SYNCED")
        await until(lambda: bool(admin.plane.pipeline.world.configs))
        (row,) = (await admin.get("/debug/syncz")).json()
        assert (row["proxy"], row["proxy_type"]) == ("reviews-v1.default", "sidecar")
        assert row["cluster_sent"] == row["cluster_acked"] != ""
        (service,) = (await admin.get("/debug/registryz")).json()
        assert (service["hostname"], service["Attributes"]["Namespace"]) == ("reviews.service.mesh", "default")
        (config,) = (await admin.get("/debug/configz")).json()
        assert (config["kind"], config["metadata"]["name"]) == ("VirtualService", "reviews")
        assert config["apiVersion"] == "networking.istio.io/v1"
        assert (await admin.get("/debug/endpointz")).json() == []


async def test_suspects_are_shown_with_their_reason_and_in_wall_clock_time() -> None:
    clock = SystemClock()
    workload = Workload("reviews-v1", "default", "127.0.0.11", (InboundPort("reviews.service.mesh", 80, 1080, 80),))
    since = clock.monotonic() - 12
    async with an_admin(Suspect(workload, since, since + 30, "its agent is silent", serving=True)) as admin:
        key = ServiceKey("default", "reviews.service.mesh")
        service = Service(key.host, "default", (Port(80, "http"),), RegistryOrigin("embedded", key.host))
        admin.plane.pipeline.submit(ServiceDelta("embedded", (service,)))
        await until(lambda: bool(admin.plane.pipeline.world.registries))
        (suspect,) = (await admin.status()).suspects
        assert (suspect.workload, suspect.services, suspect.held) == ("reviews-v1", (key.host,), False)
        assert abs(suspect.since - (clock.wall() - 12)) < 5
        assert suspect.until - suspect.since == pytest.approx(30)
        (row,) = (await admin.get("/debug/registryz")).json()
        (shown,) = row["suspects"]
        assert (shown["workload"], shown["reason"]) == ("reviews-v1", "its agent is silent")
        assert datetime.fromisoformat(shown["suspect since"]).timestamp() == pytest.approx(suspect.since, abs=1)
        assert "pilothouse_suspects 1\n" in (await get(admin.app, "/metrics")).body.decode()


async def test_config_dump_names_resources_versions_and_origins() -> None:
    async with an_admin() as admin:
        admin.plane.submit("a")
        client = admin.plane.delta()
        await client.ask()
        (resource,) = (await client.answer()).resources
        for name in ("reviews-v1.default", NODE):
            dump = (await admin.get(f"/debug/config_dump?proxyID={name}")).json()
            assert dump["configs"]["CDS"] == [
                {"name": "a", "version": resource.version, "bytes": 1, "origins": ["test: a"]}
            ]
        assert (await admin.get("/debug/config_dump?proxyID=nobody.default")).status == 404


async def test_pages_behind_the_gate_are_closed_without_the_token() -> None:
    async with an_admin() as admin:
        for path in ("/api/status", "/debug/configz", "/debug/config_dump"):
            reply = await get(admin.app, path)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


async def test_metrics_carry_istiods_names_and_our_counts() -> None:
    async with an_admin() as admin:
        admin.plane.submit("a")
        client = admin.plane.delta()
        await client.ask()
        await client.acknowledge(await client.answer(), error="no")
        await until(lambda: admin.plane.counters.refusals["CDS"] == 1)
        text = (await get(admin.app, "/metrics")).body.decode()
        for line in (
            'pilot_xds{version=""} 1',
            'pilot_xds_pushes{type="cds"} 1',
            "pilot_total_xds_rejects 1",
            "pilot_xds_cds_reject 1",
            "pilot_xds_write_timeout 0",
            "pilot_services 1",
            "pilot_virt_services 0",
            'pilothouse_compiled{type="cds"} 3',
            "# TYPE pilot_proxy_convergence_time histogram",
            "# TYPE pilot_debounce_time histogram",
        ):
            assert line in text
        assert 'pilot_info{version="' in text
