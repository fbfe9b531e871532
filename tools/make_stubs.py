"""Generate type stubs for the xDS messages into ``typings/`` (git-ignored), because xds-protos ships none.

The wheel's own serialised descriptors are the input, so nothing is vendored and the stubs cannot drift from the
messages that run. Run by ``nox -s stubs`` and before type checking; it does nothing when the stubs are current.
"""

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool

ROOT = Path(__file__).resolve().parent.parent
TYPINGS = ROOT / "typings"
STAMP = TYPINGS / ".version"
ROOTS = (
    "envoy.admin.v3",
    "envoy.annotations",
    "envoy.config.accesslog.v3",
    "envoy.config.bootstrap.v3",
    "envoy.config.cluster.v3",
    "envoy.config.core.v3",
    "envoy.config.endpoint.v3",
    "envoy.config.listener.v3",
    "envoy.config.rbac.v3",
    "envoy.config.route.v3",
    "envoy.extensions.access_loggers.file.v3",
    "envoy.extensions.clusters",
    "envoy.extensions.bootstrap.internal_listener.v3",
    "envoy.extensions.common.dynamic_forward_proxy.v3",
    "envoy.extensions.filters.http.cors.v3",
    "envoy.extensions.filters.http.dynamic_forward_proxy.v3",
    "envoy.extensions.filters.http.fault.v3",
    "envoy.extensions.filters.http.grpc_stats.v3",
    "envoy.extensions.filters.http.rbac.v3",
    "envoy.extensions.filters.http.router.v3",
    "envoy.extensions.filters.network.http_connection_manager.v3",
    "envoy.extensions.filters.network.tcp_proxy.v3",
    "envoy.extensions.rbac.matchers.upstream_ip_port.v3",
    "envoy.extensions.request_id.uuid.v3",
    "envoy.extensions.retry.host.previous_hosts.v3",
    "envoy.extensions.retry.priority.previous_priorities.v3",
    "envoy.extensions.upstreams.http.v3",
    "envoy.service.discovery.v3",
    "envoy.type",
)


def main() -> None:
    """Write the stubs unless those on disk were made from the installed versions."""
    wanted = f"xds-protos {version('xds-protos')} protobuf {version('protobuf')} {','.join(ROOTS)}"
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    TYPINGS.mkdir(exist_ok=True)
    everything = closure(sorted({file.name for file in descriptors()}))
    names = [file.name for file in everything if not file.name.startswith("google/")]
    with tempfile.TemporaryDirectory() as folder:
        pool_file = Path(folder) / "messages.fds"
        pool_file.write_bytes(descriptor_pb2.FileDescriptorSet(file=everything).SerializeToString())
        command = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--descriptor_set_in={pool_file}",
            f"--pyi_out={TYPINGS}",
        ]
        subprocess.run([*command, *names], check=True)
    for package in {path.parent for path in TYPINGS.rglob("*.pyi")}:
        for parent in (package, *package.relative_to(TYPINGS).parents):
            marker = TYPINGS / parent / "__init__.pyi"
            if marker.parent != TYPINGS and marker.parent.name != "google" and not marker.exists():
                marker.touch()
    STAMP.write_text(wanted)


def descriptors() -> list[descriptor_pb2.FileDescriptorProto]:
    """The descriptors of every message module below ``ROOTS``."""
    found = []
    for root in ROOTS:
        package = importlib.import_module(root)
        for info in pkgutil.walk_packages(package.__path__, prefix=root + "."):
            if info.name.endswith("_pb2"):
                proto = descriptor_pb2.FileDescriptorProto()
                importlib.import_module(info.name).DESCRIPTOR.CopyToProto(proto)
                found.append(proto)
    return found


def closure(names: list[str]) -> list[descriptor_pb2.FileDescriptorProto]:
    """The named files and everything they import, dependencies first."""
    pool, ordered = descriptor_pool.Default(), {}

    def add(name: str) -> None:
        if name in ordered:
            return
        file = pool.FindFileByName(name)
        for dependency in file.dependencies:
            add(dependency.name)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        ordered[name] = proto

    for name in names:
        add(name)
    return list(ordered.values())


if __name__ == "__main__":
    main()
