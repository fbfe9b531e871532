"""Log lines for people and for machines, and no secrets in tracebacks."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pilothouse.cli.log_format import LogFormat
from pilothouse.cli.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def raise_with(secret: str) -> None:
    raise ValueError(f"failed after {len(secret)} characters")


def logged(form: LogFormat) -> str:
    file = io.StringIO()
    configure_logs(form, file)
    log = structlog.get_logger("pilothouse.test")
    log.info("workload registered", workload="default/reviews-v1")
    log.debug("too much detail")
    logging.getLogger("library").warning("a %s of a library", "warning")
    logging.getLogger("library").info("a whisper")
    try:
        raise_with("s3cret")
    except ValueError:
        log.exception("it broke")
    return file.getvalue()


def test_a_machine_gets_one_json_object_a_line() -> None:
    lines = [json.loads(line) for line in logged(LogFormat.JSON).splitlines()]
    assert [line["event"] for line in lines] == ["workload registered", "a warning of a library", "it broke"]
    assert lines[0]["workload"] == "default/reviews-v1"
    assert lines[0]["level"] == "info"
    assert "ValueError: failed after 6 characters" in lines[2]["exception"]


def test_a_person_gets_lines_without_colours_where_nobody_looks() -> None:
    text = logged(LogFormat.CONSOLE)
    assert "workload registered" in text
    assert "workload=default/reviews-v1" in text
    assert "a warning of a library" in text
    assert "\x1b[" not in text


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_traceback_shows_no_values(form: LogFormat) -> None:
    assert "s3cret" not in logged(form).replace('raise_with("s3cret")', "").replace('raise_with(\\"s3cret\\")', "")
