"""Keys and marks of objects."""

from pilothouse.config.objects import ConfigKey, ConfigObject
from pilothouse.config.virtualservice import VirtualService
from pilothouse.kit.origin import FileOrigin

ORIGIN = FileOrigin("a.yaml", 3, 1, "VirtualService", "default", "a")


def test_keys_are_ordered_and_read_well() -> None:
    keys = [ConfigKey("B", "a", "a"), ConfigKey("A", "b", "a"), ConfigKey("A", "a", "b")]
    assert [str(key) for key in sorted(keys)] == ["A a/b", "A b/a", "B a/a"]


def test_a_place_is_that_of_the_nearest_mark_around_it() -> None:
    marks = {"spec": (4, 3), "spec.http": (6, 3), "spec.http[1]": (9, 5)}
    item = ConfigObject(ConfigKey("VirtualService", "default", "a"), VirtualService(), ORIGIN, marks=marks)
    assert str(item.origin_at("spec.http[1].route[0].destination.host")) == "a.yaml:9:5"
    assert str(item.origin_at("spec.http[0]")) == "a.yaml:6:3"
    assert str(item.origin_at("spec.hosts[0]")) == "a.yaml:4:3"
    assert item.origin_at("metadata.name") == ORIGIN
