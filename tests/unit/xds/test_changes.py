from pilothouse.xds.changes import LayerChanges, same_layers
from pilothouse.xds.resource import Resource, ResourceSet, resource_set


def layer(**versions: str) -> ResourceSet:
    return resource_set(*(Resource(name, version, b"") for name, version in versions.items()))


def test_added_changed_and_removed_names_differ_and_equal_versions_do_not():
    assert LayerChanges().between(layer(a="1", b="1", c="1"), layer(b="2", c="1", d="1")) == ("a", "b", "d")


def test_two_layers_are_compared_once_however_many_streams_ask():
    changes, old, new = LayerChanges(), layer(a="1"), layer(a="2")
    for _ in range(1000):
        assert changes.touched([old], [new]) == {"a"}
    assert changes.comparisons == 1


def test_the_same_layer_is_not_compared_at_all():
    changes, shared = LayerChanges(), layer(a="1")
    assert changes.touched([shared], [shared]) == set()
    assert changes.comparisons == 0


def test_layers_that_come_and_go_count_as_empty():
    changes = LayerChanges()
    assert changes.touched([layer(a="1")], [layer(a="1"), layer(b="1")]) == {"b"}
    assert changes.touched([layer(a="1"), layer(b="1")], []) == {"a", "b"}


def test_the_memo_forgets_the_oldest_pair_and_never_answers_for_another():
    changes = LayerChanges(capacity=2)
    for version in "123456":
        assert changes.between(layer(a="0"), layer(a=version, b=version)) == ("a", "b")
    assert changes.comparisons == 6


def test_layers_are_the_same_only_by_identity():
    one, equal = layer(a="1"), layer(a="1")
    assert same_layers((one,), [one])
    assert not same_layers((one,), (equal,))
    assert not same_layers(None, ())
