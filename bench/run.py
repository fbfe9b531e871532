"""Measure: ``python -m bench.run [--services 1000] [--proxies 200] [--json FILE]``.

Prints one row per change: CPU milliseconds (for reading, never asserted; the last column is the ratio to compiling
everything from nothing on the same machine) and the counters, which ``tests/counters`` compares with
``bench/expected.json`` at a size that CI can afford.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import meshes
from bench.fleet import Fleet, Step
from pilothouse import __version__
from pilothouse.model.world import ServiceDelta, World, fold
from pilothouse.resolve.services import ServiceKey

EXPECTED = Path(__file__).with_name("expected.json")
CI_SIZE = (50, 20)
"""Services and proxies of the run whose counters are committed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One change: what it cost."""

    change: str
    cpu_ms: float
    counts: dict[str, int]


def steps(services: int) -> tuple[Step, ...]:
    """The changes, in order; each is applied to the World that the one before left."""
    new = ServiceDelta(
        meshes.REGISTRY,
        services=(meshes.services(services + 1).services[-1],),
        endpoints=(meshes.services(services + 1).endpoints[-1],),
    )
    gone = ServiceDelta(meshes.REGISTRY, removed=(ServiceKey("default", meshes.host_of(services)),))
    return (
        ("nothing", lambda world: world),
        ("one endpoint", lambda world: fold(world, (meshes.endpoint_change(1, 1),))),
        ("one endpoint of a service with subsets", lambda world: fold(world, (meshes.endpoint_change(10, 1),))),
        ("one VirtualService", lambda world: fold(world, (meshes.configuration(services, weight=80),))),
        ("one new service", lambda world: fold(world, (new,))),
        ("one service gone", lambda world: fold(world, (gone,))),
    )


def measure(services: int, proxies: int) -> list[Row]:
    """Connect everybody, then apply each change."""
    world = meshes.world(services)
    fleet = Fleet([meshes.sidecar(n) for n in range(proxies)])
    rows = [timed("all connect, from nothing", fleet, world)]
    for name, change in steps(services):
        world = change(world)
        rows.append(timed(name, fleet, world))
    return rows


def timed(name: str, fleet: Fleet, world: World) -> Row:
    """Publish ``world`` and take the cost."""
    fleet.reset()
    before = time.process_time()
    fleet.publish(world)
    return Row(name, (time.process_time() - before) * 1000, fleet.counts())


def markdown(rows: list[Row], services: int, proxies: int) -> str:
    """The table."""
    lines = [
        f"{services} services, {proxies} proxies; pilothouse {__version__}, Python {platform.python_version()}",
        "",
        "| change | CPU ms | ratio | compiled | sent | bytes | woken |",
        "|---|---|---|---|---|---|---|",
    ]
    whole = rows[0].cpu_ms
    for row in rows:
        compiled = total(row.counts, "compiled")
        sent, size = total(row.counts, "resources"), total(row.counts, "bytes")
        woken = row.counts["woken"]
        lines.append(
            f"| {row.change} | {row.cpu_ms:.1f} | {row.cpu_ms / whole:.4f} | {compiled} | {sent} | {size} | {woken} |"
        )
    return "\n".join(lines)


def total(counts: dict[str, int], word: str) -> int:
    """The sum over all types."""
    return sum(n for name, n in counts.items() if name.startswith(word + " "))


def main() -> int:
    """Print the table; ``--update`` rewrites the committed counters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--proxies", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the rows as JSON")
    parser.add_argument("--update", action="store_true", help="rewrite bench/expected.json from a run of CI's size")
    options = parser.parse_args()
    if options.update:
        expected = {row.change: row.counts for row in measure(*CI_SIZE)}
        EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    rows = measure(options.services, options.proxies)
    print(markdown(rows, options.services, options.proxies))
    if options.json:
        found = [{"change": r.change, "cpu_ms": r.cpu_ms, **r.counts} for r in rows]
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
