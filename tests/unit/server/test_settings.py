"""What the settings mean, apart from the file they come from."""

import msgspec
import pytest

from pilothouse.kit.errors import SettingsError
from pilothouse.model.world import OutboundPolicy
from pilothouse.server.settings import (
    SETTINGS,
    MeshSection,
    OutboundTrafficPolicy,
    ServerSettings,
    is_loopback,
    refuse_exposure,
    split_address,
)


def test_every_setting_has_a_key_a_type_a_default_and_a_sentence() -> None:
    assert {"xds_address", "debounce.quiet", "mesh.accessLog", "registry.embedded.lease_seconds"} <= {
        setting.key for setting in SETTINGS
    }
    for setting in SETTINGS:
        assert setting.type
        assert setting.description.endswith("."), setting.key
        msgspec.json.decode(setting.default)


def test_the_defaults_listen_on_loopback_only() -> None:
    assert refuse_exposure(ServerSettings()) == ()


def test_listening_beyond_loopback_needs_the_word_insecure_and_is_named() -> None:
    with pytest.raises(SettingsError, match=r"xds_address 0\.0\.0\.0:15010 can be reached.*insecure: true"):
        refuse_exposure(ServerSettings(xds_address="0.0.0.0:15010"))
    assert refuse_exposure(ServerSettings(admin_address="mesh.example:15014", insecure=True)) == (
        "admin_address mesh.example:15014",
    )


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_a_name_that_only_looks_like_loopback_is_not(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_addresses_are_split() -> None:
    assert split_address("127.0.0.1:15010", "x") == ("127.0.0.1", 15010)
    assert split_address("[::1]:0", "x") == ("::1", 0)
    for wrong in ("127.0.0.1", ":15010", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"):
        with pytest.raises(SettingsError, match=r"xds_address: .* is not HOST:PORT"):
            split_address(wrong, "xds_address")


def test_the_meshs_part_is_what_resolve_reads() -> None:
    values = MeshSection(access_log=False, trust_domain="corp", root_namespace="root", connect_timeout=0.25).values()
    assert (values.access_log, values.trust_domain, values.root_namespace) == (False, "corp", "root")
    assert values.connect_timeout_ms == 250
    assert values.outbound is OutboundPolicy.ALLOW_ANY
    only = MeshSection(outbound_traffic_policy=OutboundTrafficPolicy(mode=OutboundPolicy.REGISTRY_ONLY))
    assert only.values().outbound is OutboundPolicy.REGISTRY_ONLY
