"""The root exceptions. Raised for I/O that failed at an edge, never for bad input (that is a ``Problem``).

Each carries a text for the person in front of the terminal; the cause is chained, so logs keep the detail.
"""


class PilothouseError(Exception):
    """Something outside failed, and the message says what and what to do about it."""


class SettingsError(PilothouseError):
    """A setting is missing or wrong; the process cannot start with it."""


class PortInUse(PilothouseError):
    """A port that Pilothouse must bind is held by somebody else."""


class AgentRunning(PilothouseError):
    """Another agent owns the workload; the message names its process."""


class EnvoyNotFound(PilothouseError):
    """No Envoy binary was found in any of the places where one is looked for."""


class SourceUnavailable(PilothouseError):
    """A registry or a configuration source does not answer. Its last state is kept."""
