from pilothouse.kit.origin import FileOrigin
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest, SyncState
from pilothouse.xds.resource import CLUSTER, ENDPOINT, LISTENER, Resource, Snapshot, resource_set
from pilothouse.xds.settings import StreamSettings


def listeners(**versions: str) -> Snapshot:
    made = (Resource(n, v, b"", (FileOrigin("gateway.yaml", 7),)) for n, v in versions.items())
    return Snapshot({LISTENER: (resource_set(*made),)})


def test_a_refusal_carries_who_made_the_resource():
    stream = DeltaStream()
    stream.offer(listeners(web="1"), 0)
    (response,) = stream.receive(DeltaRequest(LISTENER), 0)
    stream.receive(DeltaRequest(LISTENER, nonce=response.nonce, error="cannot bind"), 2)
    status = next(s for s in stream.status() if s.type_url == LISTENER)
    assert (status.state, status.since, status.reason) == (SyncState.REFUSED, 2, "cannot bind")
    assert [(r.name, r.version, str(r.origins[0])) for r in status.refusals] == [("web", "1", "gateway.yaml:7")]


def test_nothing_is_acknowledged_for_a_client_that_asked_for_nothing():
    stream = DeltaStream()
    newest = listeners(web="1")
    stream.offer(newest, 0)
    assert not stream.acknowledged(newest)


def test_only_the_newest_snapshot_can_be_acknowledged():
    stream = DeltaStream()
    old, new = listeners(web="1"), listeners(web="1")
    stream.offer(old, 0)
    (response,) = stream.receive(DeltaRequest(LISTENER), 0)
    stream.receive(DeltaRequest(LISTENER, nonce=response.nonce), 0)
    assert stream.acknowledged(old)
    stream.offer(new, 1)
    assert stream.acknowledged(new)
    assert not stream.acknowledged(old)


def test_the_deadline_is_the_oldest_unanswered_response_plus_the_setting():
    stream = DeltaStream(settings=StreamSettings(ack_deadline=2.5))
    stream.offer(listeners(web="1"), 0)
    assert stream.deadline is None
    stream.receive(DeltaRequest(LISTENER), 10)
    assert stream.deadline == 12.5
    assert stream.expire(12.0) == []
    assert stream.deadline == 12.5
    stream.expire(12.5)
    assert stream.deadline is None


def test_counters_count_what_was_returned():
    stream = DeltaStream()
    stream.offer(listeners(web="1", admin="1"), 0)
    stream.receive(DeltaRequest(LISTENER), 0)
    stream.receive(DeltaRequest(CLUSTER), 0)
    assert (stream.sent_resources, stream.sent_responses) == (2, 2)


def test_two_streams_share_nothing_but_what_they_were_given():
    one, other = DeltaStream(), DeltaStream()
    one.offer(listeners(web="1"), 0)
    assert other.offered is None
    assert other.receive(DeltaRequest(LISTENER), 0) == []


def test_an_answer_to_an_unknown_nonce_opens_no_subscription():
    stream = DeltaStream()
    stream.offer(listeners(web="1"), 0)
    assert stream.receive(DeltaRequest(LISTENER, nonce="of another stream", error="late"), 0) == []
    assert stream.receive(DeltaRequest(LISTENER), 0)


def a_cluster_with_endpoints(version: str) -> Snapshot:
    cluster = Resource("a", version, b"cluster " + version.encode(), follows=((ENDPOINT, "a"),))
    return Snapshot({CLUSTER: (resource_set(cluster),), ENDPOINT: (resource_set(Resource("a", "1", b"members")),)})


def test_what_a_broken_stream_left_unsettled_is_sent_again_on_the_next_one():
    broken = DeltaStream()
    broken.offer(a_cluster_with_endpoints("2"), 0)
    broken.receive(DeltaRequest(CLUSTER, initial_versions={"a": "1"}), 0)
    assert broken.unsettled == {"a"}

    held = {CLUSTER: {"a": "2"}, ENDPOINT: {"a": "1"}}
    plain, warned = DeltaStream(), DeltaStream()
    warned.distrust(broken.unsettled)
    for stream, sent in ((plain, ()), (warned, ("a",))):
        stream.offer(a_cluster_with_endpoints("2"), 1)
        stream.receive(DeltaRequest(CLUSTER, initial_versions=held[CLUSTER]), 1)
        responses = stream.receive(DeltaRequest(ENDPOINT, subscribe=("a",), initial_versions=held[ENDPOINT]), 1)
        assert tuple(r.name for response in responses for r in response.resources) == sent


def test_nothing_is_unsettled_once_the_clusters_are_acknowledged():
    stream = DeltaStream()
    stream.offer(a_cluster_with_endpoints("1"), 0)
    (clusters,) = stream.receive(DeltaRequest(CLUSTER), 0)
    stream.receive(DeltaRequest(CLUSTER, nonce=clusters.nonce), 0)
    assert stream.unsettled == frozenset()
