"""Listener, table and virtual host, in Envoy's order."""

import pytest
from envoy.config.listener.v3 import listener_pb2

from pilothouse.simulate.comparing import CannotTell
from pilothouse.simulate.lookup import (
    Table,
    connection_manager,
    find_listener,
    find_table,
    find_virtual_host,
    without_port,
)

from .support import AT, a_host, a_listener, a_snapshot, a_table, resource


def test_exact_address_comes_before_any_address() -> None:
    snapshot = a_snapshot(listeners=(a_listener("0.0.0.0"), a_listener(), a_listener("0.0.0.0", 81)))
    found = [find_listener(snapshot, address, port) for address, port in (AT, ("10.0.0.9", 80), ("10.0.0.9", 82))]
    assert [listener.name if listener else None for listener in found] == ["10.0.0.1_80", "0.0.0.0_80", None]


def test_listeners_of_other_shapes_are_not_guessed_at() -> None:
    with pytest.raises(CannotTell, match="0 filter chains"):
        connection_manager(resource("l", listener_pb2.Listener()))
    with pytest.raises(CannotTell, match="without an HTTP connection manager"):
        connection_manager(resource("l", listener_pb2.Listener(filter_chains=[{}])))


def the_table(*, ignores_port: bool = False, **hosts: tuple[str, ...]) -> Table:
    snapshot = a_snapshot(
        hosts=tuple(a_host(name, *domains) for name, domains in hosts.items()),
        tables=(a_table(ignores_port=ignores_port),),
    )
    listener = a_listener()
    found = find_table(snapshot, listener, connection_manager(listener))
    assert found is not None
    return found


def chosen(table: Table, authority: str) -> str:
    found = find_virtual_host(table, authority)
    return found.name if found is not None else ""


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("b.example.com", "near"),
        ("b.c.example.com", "near"),
        ("b.example.org", "far"),
        (".example.com", "far_too"),
        ("api.test", "prefix_long"),
        ("apx.test", "prefix_short"),
        ("api.", "prefix_short"),
        ("other", "all"),
        ("a.example.com:80", "all"),
        ("with-port:80", "port"),
    ],
)
def test_domain_is_exact_then_longest_suffix_then_longest_prefix_then_any(authority: str, host: str) -> None:
    table = the_table(
        all=("*",),
        prefix_short=("ap*",),
        prefix_long=("api.*",),
        far=("*.org",),
        far_too=("*.com",),
        near=("*.example.com",),
        exact=("a.example.com",),
        port=("with-port:80",),
    )
    assert chosen(table, authority) == host


def test_suffix_comes_before_prefix() -> None:
    assert chosen(the_table(prefix=("a.b.*",), suffix=("*.c",)), "a.b.c") == "suffix"


def test_without_a_catch_all_nothing_is_chosen() -> None:
    assert chosen(the_table(one=("a",)), "b") == ""


def test_table_may_ignore_the_port() -> None:
    assert chosen(the_table(ignores_port=True, one=("a",)), "a:8080") == "one"
    assert chosen(the_table(one=("a",)), "a:8080") == ""


@pytest.mark.parametrize(
    ("authority", "bare"),
    [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("a:", "a:")],
)
def test_port_is_what_follows_the_last_colon(authority: str, bare: str) -> None:
    assert without_port(authority) == bare


def test_table_is_inline_or_by_name_or_missing() -> None:
    inline = a_listener(route_config={"name": "own", "virtual_hosts": [{"name": "h", "domains": ["*"]}]})
    table = find_table(a_snapshot(), inline, connection_manager(inline))
    assert table is not None
    assert (table.name, [host.name for host in table.hosts]) == ("own", ["h"])
    by_name = a_listener()
    assert find_table(a_snapshot(tables=()), by_name, connection_manager(by_name)) is None


def test_virtual_hosts_of_other_tables_do_not_count() -> None:
    other = a_host("x", "*")
    snapshot = a_snapshot(hosts=(resource("tables/x", listener_pb2.Listener()), other))
    listener = a_listener()
    table = find_table(snapshot, listener, connection_manager(listener))
    assert table is not None
    assert [host.name for host in table.hosts] == ["x"]
