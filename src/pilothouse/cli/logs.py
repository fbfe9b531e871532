"""How a process of ours logs: lines for a person, or JSON for a machine, always on standard error.

Our own events (structlog) and those of libraries (logging) come out alike. Tracebacks never show the values of
variables, some of which are secrets.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from pilothouse.cli.log_format import LogFormat


def configure_logs(form: LogFormat, file: TextIO = sys.stderr) -> None:
    """Log to ``file`` from now on: INFO of ours, warnings of libraries. Colours only where somebody looks."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    match form:
        case LogFormat.JSON:
            render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        case LogFormat.CONSOLE:
            plain = structlog.dev.plain_traceback
            render = [structlog.dev.ConsoleRenderer(colors=file.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("pilothouse").setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
