import pytest

from pilothouse.xds.resource import CLUSTER, EMPTY, LISTENER, Resource, Snapshot, resource_set


def test_a_set_is_in_name_order():
    assert list(resource_set(Resource("b", "1", b""), Resource("a", "1", b""))) == ["a", "b"]


def test_a_duplicate_name_is_a_bug_and_named():
    with pytest.raises(ValueError, match="twice"):
        resource_set(Resource("twice", "1", b""), Resource("twice", "2", b""), Resource("once", "1", b""))


def test_a_snapshot_looks_through_its_layers():
    shared, own = resource_set(Resource("a", "1", b"")), resource_set(Resource("b", "1", b""))
    snapshot = Snapshot({CLUSTER: (shared, EMPTY, own)})
    assert snapshot.find(CLUSTER, "b") is own["b"]
    assert snapshot.find(CLUSTER, "c") is None
    assert snapshot.find(LISTENER, "a") is None
    assert [r.name for r in snapshot.resources(CLUSTER)] == ["a", "b"]
    assert snapshot.size(CLUSTER) == 2
