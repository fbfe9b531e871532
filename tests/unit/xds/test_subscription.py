from pilothouse.xds.subscription import Subscription, VirtualHostSubscription, route_of


def test_names_and_the_wildcard_are_independent():
    subscription = Subscription()
    assert subscription.add(["*", "a"]) == ("a",)
    assert subscription.covers("b")
    subscription.drop(["*"])
    assert subscription.covers("a")
    assert not subscription.covers("b")


def test_virtual_hosts_are_covered_with_their_route():
    routes = Subscription()
    hosts = VirtualHostSubscription(routes)
    hosts.add(["*"])
    assert not hosts.covers("r/x")
    routes.add(["r"])
    assert hosts.covers("r/x")
    assert not hosts.covers("rs/x")


def test_a_virtual_host_can_be_asked_for_by_name():
    hosts = VirtualHostSubscription(Subscription())
    hosts.add(["r/x"])
    assert hosts.covers("r/x")
    assert not hosts.covers("r/y")


def test_the_route_is_everything_before_the_last_slash():
    assert route_of("inbound/8080/host:80") == "inbound/8080"
