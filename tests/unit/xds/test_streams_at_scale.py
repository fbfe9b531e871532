"""What a publish costs when nothing, or little, concerns a stream: counted, not timed."""

from pilothouse.xds.changes import LayerChanges
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest
from pilothouse.xds.resource import CLUSTER, ENDPOINT, Resource, ResourceSet, Snapshot, resource_set
from pilothouse.xds.settings import StreamSettings

SERVICES = [f"service-{number:04}" for number in range(200)]


def assignments(changed: str = "") -> ResourceSet:
    return resource_set(*(Resource(name, "2" if name == changed else "1", b"") for name in SERVICES))


def clusters() -> ResourceSet:
    return resource_set(*(Resource(name, "1", b"", (), ((ENDPOINT, name),)) for name in SERVICES))


def connected(settings: StreamSettings, snapshot: Snapshot) -> DeltaStream:
    stream = DeltaStream(settings=settings)
    stream.offer(snapshot, 0)
    versions = dict.fromkeys(SERVICES, "1")
    for request in (
        DeltaRequest(CLUSTER, initial_versions=versions),
        DeltaRequest(ENDPOINT, tuple(SERVICES), initial_versions=versions),
    ):
        for response in stream.receive(request, 0):
            stream.receive(DeltaRequest(request.type_url, nonce=response.nonce), 0)
    return stream


def test_one_changed_service_is_compared_once_and_sent_once_per_stream():
    settings = StreamSettings()
    shared = clusters()
    before = Snapshot({CLUSTER: (shared,), ENDPOINT: (assignments(),)})
    streams = [connected(settings, before) for _ in range(50)]
    after = Snapshot({CLUSTER: (shared,), ENDPOINT: (assignments("service-0007"),)})

    sent = [response for stream in streams for response in stream.offer(after, 1)]

    assert settings.changes.comparisons == 1
    assert [[r.name for r in response.resources] for response in sent] == [["service-0007"]] * 50
    assert all(stream.sent_resources == 1 for stream in streams)


def test_a_snapshot_of_the_same_layers_compares_and_sends_nothing():
    settings = StreamSettings()
    before = Snapshot({CLUSTER: (clusters(),), ENDPOINT: (assignments(),)})
    stream = connected(settings, before)

    again = Snapshot(dict(before.layers), "again")

    assert stream.offer(again, 1) == []
    assert stream.acknowledged(again)
    assert settings.changes.comparisons == 0


def test_a_recompiled_but_equal_world_is_compared_and_sends_nothing():
    settings = StreamSettings(changes=LayerChanges())
    stream = connected(settings, Snapshot({CLUSTER: (clusters(),), ENDPOINT: (assignments(),)}))

    assert stream.offer(Snapshot({CLUSTER: (clusters(),), ENDPOINT: (assignments(),)}), 1) == []
    assert settings.changes.comparisons == 2


def test_what_a_stream_holds_are_references_to_the_shared_resources():
    settings = StreamSettings()
    shared = clusters()
    stream = connected(settings, Snapshot({CLUSTER: (shared,), ENDPOINT: (assignments(),)}))

    changed = Resource("service-0000", "2", b"bytes", (), ((ENDPOINT, "service-0000"),))
    newer = ResourceSet({**shared.by_name, "service-0000": changed})
    first, *_ = stream.offer(Snapshot({CLUSTER: (newer,), ENDPOINT: (assignments(),)}), 1)

    assert first.resources[0] is changed
