"""What comes of a request: a closed set of outcomes, and the steps that led there.

The answer of ``simulate_request``. ``str(verdict)`` is the one line that tests and people read, such as
``subset v2 of reviews.service.mesh:9080``.
"""

from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.kit.origin import Origin


@dataclass(frozen=True, slots=True)
class Step:
    """One resource on the way: what kind it is, its name, and who made it."""

    what: str
    name: str
    origins: tuple[Origin, ...] = ()

    def __str__(self) -> str:
        made_by = f" ({', '.join(str(o) for o in self.origins)})" if self.origins else ""
        return f"{self.what} {self.name}{made_by}"


@dataclass(frozen=True, slots=True)
class NoListener:
    """Nothing listens there, or the listener stays closed because the route configuration ``waits_for`` is missing."""

    address: str
    port: int
    waits_for: str = ""

    def __str__(self) -> str:
        reason = f": it waits for the route configuration {self.waits_for}" if self.waits_for else ""
        return f"no listener at {self.address}:{self.port}{reason}"


@dataclass(frozen=True, slots=True)
class NoVirtualHost:
    """No domain of the table covers the authority: 404, flag NR."""

    table: str
    authority: str

    def __str__(self) -> str:
        return f"404: {self.table} has no virtual host for {self.authority}"


@dataclass(frozen=True, slots=True)
class NoRoute:
    """The virtual host has no route for the request: 404, flag NR."""

    virtual_host: str

    def __str__(self) -> str:
        return f"404: {self.virtual_host} has no route for this request"


@dataclass(frozen=True, slots=True)
class NoCluster:
    """The route names a cluster that the proxy does not have: 503, flag NC."""

    cluster: str

    def __str__(self) -> str:
        return f"503: there is no cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class NoEndpoints:
    """The cluster has no endpoint that may receive traffic: 503, flag UH."""

    cluster: str

    def __str__(self) -> str:
        return f"503: {self.cluster} has no endpoints"


@dataclass(frozen=True, slots=True)
class Undecided:
    """The simulation does not know this construct of Envoy, and does not guess."""

    reason: str

    def __str__(self) -> str:
        return f"undecided: {self.reason}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A cluster with endpoints. ``endpoints`` are ``address:port``; each may receive the request."""

    cluster: str
    endpoints: tuple[str, ...]

    def __str__(self) -> str:
        direction, _, rest = self.cluster.partition("|")
        port, _, rest = rest.partition("|")
        subset, _, host = rest.partition("|")
        if direction == "inbound":
            return f"the app at {self.endpoints[0]}"
        if direction != "outbound":
            return self.cluster
        return f"subset {subset} of {host}:{port}" if subset else f"{host}:{port}"


Target: TypeAlias = Reached | NoCluster | NoEndpoints


@dataclass(frozen=True, slots=True)
class Share:
    """One target of a split: ``weight`` of the sum of all weights. ``authority`` is what this share alone rewrites."""

    weight: int
    target: Target
    authority: str = ""

    def __str__(self) -> str:
        return f"{self.target} as {self.authority}" if self.authority else str(self.target)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often the request is tried again beyond the first time, and on what (Envoy's words)."""

    attempts: int
    conditions: str
    per_try_timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults before the request goes on; shares are of a million. ``abort`` is ``503`` or ``gRPC 14``."""

    delay_ms: int = 0
    delayed: int = 0
    abort: str = ""
    aborted: int = 0

    def __str__(self) -> str:
        parts = []
        if self.delayed:
            parts.append(f"{percent(self.delayed, 1_000_000)} wait {show_ms(self.delay_ms)}")
        if self.aborted:
            parts.append(f"{percent(self.aborted, 1_000_000)} fail with {self.abort}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The request is sent on, as ``authority`` and ``path`` say. ``timeout_ms`` 0: it may take for ever."""

    shares: tuple[Share, ...]
    authority: str
    path: str
    timeout_ms: int = 0
    retries: Retries | None = None
    faults: Faults | None = None
    rewritten: bool = False

    def __str__(self) -> str:
        total = sum(share.weight for share in self.shares)
        if len(self.shares) == 1:
            text = str(self.shares[0].target)
        else:
            text = ", ".join(f"{percent(share.weight, total)} {share}" for share in self.shares)
        if self.rewritten:
            text += f", as {self.authority}{self.path}"
        if self.timeout_ms:
            text += f", within {show_ms(self.timeout_ms)}"
        return f"{text}; {self.faults}" if self.faults is not None else text


@dataclass(frozen=True, slots=True)
class Redirected:
    """The client is sent elsewhere."""

    status: int
    location: str

    def __str__(self) -> str:
        return f"{self.status} to {self.location}"


@dataclass(frozen=True, slots=True)
class Answered:
    """The proxy answers by itself."""

    status: int
    body: bytes = b""

    def __str__(self) -> str:
        text = self.body.decode(errors="replace").strip()
        return f"{self.status} {text!r}" if text else str(self.status)


Outcome: TypeAlias = (
    Forwarded | Redirected | Answered | NoListener | NoVirtualHost | NoRoute | NoCluster | NoEndpoints | Undecided
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and the resources that decided it, in order."""

    outcome: Outcome
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return str(self.outcome)

    def explain(self) -> str:
        """One line per step, then the outcome."""
        return "\n".join((*(str(step) for step in self.steps), f"→ {self.outcome}"))


def percent(part: int, whole: int) -> str:
    """``12.5%``, without digits that say nothing."""
    return f"{100 * part / whole:.4f}".rstrip("0").rstrip(".") + "%"


def show_ms(milliseconds: int) -> str:
    """``1.5s`` or ``250ms``."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
