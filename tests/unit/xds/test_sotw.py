from pilothouse.xds.protocol import SotwRequest
from pilothouse.xds.resource import CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST, Resource, Snapshot, resource_set
from pilothouse.xds.sotw import SotwStream, version_of


def snapshot(**clusters: str) -> Snapshot:
    return Snapshot({CLUSTER: (resource_set(*(Resource(n, v, b"") for n, v in clusters.items())),)})


def test_the_version_is_a_digest_over_names_and_versions():
    one, two = Resource("a", "1", b""), Resource("a", "2", b"")
    assert version_of([one]) == version_of([Resource("a", "1", b"other bytes")])
    assert len({version_of([]), version_of([one]), version_of([two]), version_of([one, two])}) == 4


def test_two_streams_with_the_same_contents_get_the_same_version():
    first, second = SotwStream(), SotwStream()
    for stream in (first, second):
        stream.offer(snapshot(a="1", b="1"), 0)
    (left,), (right,) = (stream.receive(SotwRequest(CLUSTER), 0) for stream in (first, second))
    assert left.version == right.version


def test_without_a_stand_in_a_missing_name_is_answered_when_it_exists():
    stream = SotwStream()
    stream.offer(Snapshot({}), 0)
    assert stream.receive(SotwRequest(ROUTE, ("r",)), 0) == []
    (response,) = stream.offer(Snapshot({ROUTE: (resource_set(Resource("r", "1", b"")),)}), 1)
    assert [resource.name for resource in response.resources] == ["r"]


def test_clusters_by_name_are_the_full_set_of_these_names():
    stream = SotwStream()
    stream.offer(snapshot(a="1", b="1", c="1"), 0)
    (response,) = stream.receive(SotwRequest(CLUSTER, ("a", "c")), 0)
    assert [resource.name for resource in response.resources] == ["a", "c"]


def test_virtual_hosts_and_unknown_types_are_not_served():
    stream = SotwStream()
    stream.offer(snapshot(a="1"), 0)
    assert stream.receive(SotwRequest(VIRTUAL_HOST), 0) == []
    assert stream.receive(SotwRequest("type.googleapis.com/unknown"), 0) == []


def test_an_answer_settles_the_responses_before_it():
    def assignment(version: str) -> Snapshot:
        return Snapshot({ENDPOINT: (resource_set(Resource("a", version, b"")),)})

    stream = SotwStream()
    stream.offer(assignment("1"), 0)
    stream.receive(SotwRequest(ENDPOINT, ("a",)), 0)
    newest = assignment("2")
    (last,) = stream.offer(newest, 0)
    stream.receive(SotwRequest(ENDPOINT, ("a",), nonce=last.nonce), 0)
    assert stream.acknowledged(newest)
