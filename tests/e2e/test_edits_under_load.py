"""Editing the configuration of a running mesh, a hundred times under constant load, with good files and bad ones."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.looking import Mesh, eventually
from tests.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
CHANGES = 100
REVIEWS = "reviews.service.mesh"


def rules(subset: str, version: str) -> str:
    """Everybody to one subset, which only this file knows."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews-subsets}}
spec:
  host: {REVIEWS}
  subsets:
  - {{name: {subset}, labels: {{version: {version}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews-route}}
spec:
  hosts: [{REVIEWS}]
  http:
  - route: [{{destination: {{host: {REVIEWS}, subset: {subset}}}}}]
"""


def save(path: Path, text: str) -> None:
    """As an editor saves: beside the file, then over it."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(path)


def reviews_load(mesh: Mesh) -> Load:
    """Constant requests for the reviews, through the gateway and productpage's sidecar."""
    url = f"http://{mesh.running.plan.gateway}/api/v1/products/0/reviews"
    return Load(url, clients=2, pause=0.01, expects=lambda status, body: status == 200)


async def answers_come_from(load: Load, version: str, after: int) -> None:
    """Wait until ten answers in a row, none of them from before, come from one version."""

    async def settled() -> bool:
        return load.requests > after and set(load.recent) == {version}

    await eventually(settled, deadline=10, what=f"traffic to {version}")


async def test_a_new_subset_and_its_removal_a_hundred_times_under_load_fail_no_request(mesh: Mesh) -> None:
    path = mesh.running.config_folder / "hundred.yaml"
    seconds: list[float] = []
    try:
        async with reviews_load(mesh) as load:
            load.classify = version_of
            for number in range(CHANGES):
                version = f"v{number % 3 + 1}"
                began, before = time.perf_counter(), load.requests
                save(path, rules(f"subset-{number}", version))
                await answers_come_from(load, version, before)
                seconds.append(time.perf_counter() - began)
    finally:
        path.unlink(missing_ok=True)
    seconds.sort()
    print(f"{load.requests} requests, {sum(load.failures.values())} failed, {len(seconds)} changes")
    print(f"traffic followed after {seconds[len(seconds) // 2]:.2f} s (median), {seconds[-1]:.2f} s (most)")
    assert load.failures == {}


def version_of(body: str) -> str:
    """The version of reviews that gave an answer."""
    return next((v for v in ("v1", "v2", "v3") if f'"{v}"' in body), "")


async def test_a_bad_document_is_named_with_its_line_and_changes_nothing(mesh: Mesh) -> None:
    path = mesh.running.config_folder / "mistakes.yaml"
    good = rules("blessed", "v3")
    bad = good.replace("subset: blessed}}]", "subset: blessed}, wieght: 3}]")
    try:
        async with reviews_load(mesh) as load:
            load.classify = version_of
            save(path, good)
            await answers_come_from(load, "v3", load.requests)
            save(path, bad)

            async def named() -> bool:
                problems = (await mesh.running.status()).problems
                return any("mistakes.yaml:16" in p.origin and "weight" in f"{p.message} {p.remedy}" for p in problems)

            await eventually(named, what="the Problem that names the misspelt field")
            await load.more(50)
            assert set(load.recent) == {"v3"}, "the last good version of the object goes on"
            save(path, "apiVersion: [\n")
            await load.more(50)
            assert set(load.recent) == {"v3"}, "so it does when the whole file cannot be read"
    finally:
        path.unlink(missing_ok=True)
    assert load.failures == {}


async def test_an_app_that_fails_its_health_check_leaves_the_registry_and_returns(mesh: Mesh) -> None:
    pid = mesh.running.processes.states["reviews-v1 app"].pid

    async def endpoints_are(count: int) -> bool:
        return (await mesh.running.status()).endpoints == count

    await eventually(lambda: endpoints_are(6), what="an endpoint for each workload")
    os.kill(pid, signal.SIGSTOP)
    try:
        await eventually(lambda: endpoints_are(5), what="the hung app leaves the registry")
        async with reviews_load(mesh) as load:
            await load.more(100)
        assert load.failures == {}
    finally:
        os.kill(pid, signal.SIGCONT)
    await eventually(lambda: endpoints_are(6), what="the app returns")
