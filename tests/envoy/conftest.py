"""The last test of a session judges what all tests before it compiled."""

import pytest

LAST = "test_every_snapshot_of_this_session_is_accepted"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name == LAST)
