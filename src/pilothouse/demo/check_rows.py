"""Which rows does ``pilothouse up --check`` play, and what must be seen in each?

A row has the rule that it plays, the Envoys that must have taken it, and a function that sends requests through the
gateway and judges what came back together with what Envoy itself counted and logged. Without its rule each of them
must fail: that is what makes a passed row mean something. Rules are put and withdrawn by ``check``, not here.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from pilothouse.demo import talk
from pilothouse.demo.check_envoy import EnvoyWitness, LogLine, until

REQUEST_SECONDS: Final = 20.0

DEVICES: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0 (iPod touch; CPU iPhone OS 12_5 like Mac OS X) AppleWebKit/605.1.15",
)
OTHERS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36",
    "curl/8.5.0",
)
EACH_DEVICE: Final = 4
BURST: Final = 20
CANARY_REQUESTS: Final = 500
CANARY_LEAST: Final = 23
CANARY_MOST: Final = 77
"""Four standard deviations around 50: a correct split falls outside once in 15,000 runs."""
CANARY_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got. ``status`` 0 means no answer, and ``text`` says why."""

    status: int
    text: str
    seconds: float

    @property
    def reviews_version(self) -> str:
        """The version of reviews on a product page; empty if it shows none."""
        _, found, rest = self.text.partition('data-version="')
        return rest.partition('"')[0] if found else ""

    @property
    def reviews_status(self) -> str:
        """The status that productpage got when it asked for reviews, as its page says."""
        _, found, rest = self.text.partition('id="reviews" data-status="')
        return rest.partition('"')[0] if found else "unknown"

    @property
    def has_stars(self) -> bool:
        """Whether a product page shows stars."""
        return 'class="stars ' in self.text

    @property
    def lacks_reviews(self) -> bool:
        """Whether a product page says that reviews are unavailable."""
        return "reviews are unavailable" in self.text.lower()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something may take before it is said not to happen, in seconds.

    ``taken``: a rule into the Envoys concerned, and out of them; it takes some 200 ms. ``logged``: a line in an access
    log; jason's ratings end a second after his page has given up on them. ``ejected``: an ejection.
    """

    taken: float = 15.0
    logged: float = 6.0
    ejected: float = 3.0


PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True)
class Stage:
    """What a row may use: the gateway's URL, three witnesses, and the way to take the row's rule back early."""

    domain: str
    gateway_url: str
    session: aiohttp.ClientSession
    gateway: EnvoyWitness
    productpage: EnvoyWitness
    reviews: EnvoyWitness
    withdraw: Callable[[], Awaitable[None]]
    patience: Patience

    async def get(self, path: str, *, agent: str = "pilothouse-check", cookie: str = "") -> Answer:
        """GET ``path`` through the gateway. Never raises for what the network does."""
        clock = asyncio.get_running_loop().time
        started = clock()
        headers = {"user-agent": agent, **({"cookie": cookie} if cookie else {})}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with self.session.get(self.gateway_url + path, headers=headers, timeout=timeout) as response:
                return Answer(response.status, await response.text(errors="replace"), clock() - started)
        except TimeoutError:
            return Answer(0, f"no answer within {REQUEST_SECONDS:.0f} s", clock() - started)
        except (aiohttp.ClientError, OSError) as error:
            return Answer(0, str(error) or type(error).__name__, clock() - started)

    def cluster(self, service: str, subset: str = "") -> str:
        """Envoy's name for a service of the demo, or for one subset of it."""
        return f"outbound|9080|{subset}|{service}.{self.domain}"

    async def subset_requests(self) -> Counter[str]:
        """How many requests productpage's Envoy has sent to each subset of reviews; "" is the service as a whole."""
        host = self.cluster("reviews").rpartition("|")[2].replace(".", r"\.")
        found = await self.productpage.counters(rf"^cluster\.outbound\|9080\|[^|]*\|{host};\.upstream_rq_total$")
        return Counter({name.split("|")[2]: value for name, value in found.items()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a row saw, what Envoy says of it, and whether that is what was expected."""

    seen: str
    evidence: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``concerned`` names the stage's witnesses whose Envoy must have the rule before the row plays."""

    name: str
    asked: str
    expected: str
    rule: Callable[[str], talk.TalkRule]
    concerned: tuple[str, ...]
    play: Callable[[Stage], Awaitable[Verdict]]


async def play_ab_test(stage: Stage) -> Verdict:
    """Devices first, then everybody else; pages and Envoy's counters must both say so."""
    start = await stage.subset_requests()
    devices = [await stage.get("/productpage", agent=agent) for agent in DEVICES * EACH_DEVICE]
    between = await stage.subset_requests()
    others = [await stage.get("/productpage", agent=agent) for agent in OTHERS * EACH_DEVICE]
    end = await stage.subset_requests()
    counted = (_rise(start, between), _rise(between, end))
    passed = (
        _versions(devices) == {"v2": len(devices)}
        and _versions(others) == {"v1": len(others)}
        and counted == ({"v2": len(devices)}, {"v1": len(others)})
    )
    return Verdict(
        seen=f"devices {_tally(_versions(devices))}; others {_tally(_versions(others))}",
        evidence=f"productpage's Envoy, upstream_rq_total of reviews by subset: devices {_rises(counted[0])}; "
        f"others {_rises(counted[1])}",
        passed=passed,
    )


async def play_circuit_breaker(stage: Stage) -> Verdict:
    """A burst of slow requests: few pass, the others are refused at once by the gateway itself."""
    overflow = f"cluster.{stage.cluster('productpage')};.upstream_rq_pending_overflow"
    before, mark = await stage.gateway.counter(overflow), await stage.gateway.mark()
    answers = await asyncio.gather(*(stage.get("/slow?seconds=1") for _ in range(BURST)))
    split = Counter(_status(answer) for answer in answers)
    passed_on, refused = split["200"], split["503"]
    within = stage.patience.logged
    lines = await stage.gateway.lines_where(mark, _has_flag("UO", "/slow"), count=refused, within=within)
    rise = await stage.gateway.counter(overflow) - before
    return Verdict(
        seen=_tally(split),
        evidence=f"gateway's Envoy: upstream_rq_pending_overflow +{rise}; {len(lines)} access log lines with flag UO",
        passed=min(passed_on, refused, len(lines), rise) >= 1 and passed_on + refused == BURST,
    )


async def play_ejection(stage: Stage) -> Verdict:
    """One error ejects the only productpage; deleting the rule brings it back."""
    cluster, mark = stage.cluster("productpage"), await stage.gateway.mark()
    error = await stage.get("/status/500")

    async def ejected() -> frozenset[str] | None:
        return await stage.gateway.ejected(cluster) or None

    out = await until(ejected, stage.patience.ejected) or frozenset()
    refused = await stage.get("/productpage")
    count, within = int(refused.status == 503), stage.patience.logged
    lines = await stage.gateway.lines_where(mark, _has_flag("UH", "/productpage"), count=count, within=within)
    await stage.withdraw()
    again = await stage.get("/productpage")
    passed = (
        (error.status, refused.status, again.status) == (500, 503, 200)
        and "no healthy upstream" in refused.text
        and bool(out and lines)
    )
    text = f" ({refused.text.strip()})" if refused.status != 200 else ""
    health = f"failed_outlier_check at {', '.join(sorted(out))}" if out else "no endpoint is ejected"
    return Verdict(
        seen=f"{_status(error)}, then {_status(refused)}{text}; rule deleted: {_status(again)}",
        evidence=f"gateway's Envoy: {health}; {len(lines)} access log lines with flag UH",
        passed=passed,
    )


async def play_fault(stage: Stage) -> Verdict:
    """jason and three others at the same time; the page gives up on his reviews, Envoy says who delayed and who cut."""
    agent = "pilothouse-check (jason)"
    timeouts = f"cluster.{stage.cluster('reviews', 'v2')};.upstream_rq_timeout"
    before = await stage.productpage.counter(timeouts)
    at_productpage, at_reviews = await stage.productpage.mark(), await stage.reviews.mark()
    jason, *others = await asyncio.gather(
        stage.get("/productpage", agent=agent, cookie="session=7f3a; user=jason"),
        *(stage.get("/productpage", cookie=f"session=7f3b; user={name}") for name in ("alice", "bob", "carol")),
    )
    count, within = int(jason.lacks_reviews), stage.patience.logged
    cut = await stage.productpage.lines_where(at_productpage, _by(agent, "UT"), count=count, within=within)
    delayed = await stage.reviews.lines_where(at_reviews, _by(agent, "DI"), count=count, within=within)
    rise = await stage.productpage.counter(timeouts) - before
    starred = sum(answer.status == 200 and answer.has_stars for answer in others)
    passed = (
        jason.status == 200
        and jason.lacks_reviews
        and jason.seconds < 2.0  # The delay alone would take longer: it was the timeout that answered.
        and starred == len(others)
        and (rise, len(cut), len(delayed)) == (1, 1, 1)
    )
    what = "without reviews" if jason.lacks_reviews else f"with reviews {jason.reviews_version or 'of no version'}"
    return Verdict(
        seen=f"jason: {_status(jason)} {what} after {jason.seconds:.2f} s; {starred} of {len(others)} others see stars",
        evidence=f"productpage's Envoy: upstream_rq_timeout +{rise}, {len(cut)} line with flag UT; "
        f"reviews' Envoy: {len(delayed)} line with flag DI",
        passed=passed,
    )


async def play_canary(stage: Stage) -> Verdict:
    """Many requests, a few at once; Envoy must have counted each of them, on one of the two."""
    start = await stage.subset_requests()
    left = iter(range(CANARY_REQUESTS))

    async def client() -> list[Answer]:
        return [await stage.get("/productpage") for _ in left]

    parts = await asyncio.gather(*(client() for _ in range(CANARY_AT_ONCE)))
    answers = [answer for part in parts for answer in part]
    counted = _rise(start, await stage.subset_requests())
    seen = _versions(answers)
    return Verdict(
        seen=_tally(seen),
        evidence=f"productpage's Envoy, upstream_rq_total of reviews by subset: {_rises(counted)}",
        passed=seen == counted
        and set(seen) == {"v1", "v2"}
        and sum(seen.values()) == CANARY_REQUESTS
        and CANARY_LEAST <= seen["v2"] <= CANARY_MOST,
    )


ROWS: Final = (
    Row(
        name="ab-test",
        asked=f"{len(DEVICES) * EACH_DEVICE} product pages as iPhone, iPad or iPod, {len(OTHERS) * EACH_DEVICE} as "
        "other browsers",
        expected="devices: reviews v2; others: reviews v1",
        rule=talk.ab_test,
        concerned=("productpage",),
        play=play_ab_test,
    ),
    Row(
        name="circuit-breaker",
        asked=f"{BURST} slow pages at once, with one connection and one waiting request allowed",
        expected="at least one 200 and at least one 503 with flag UO",
        rule=talk.circuit_breaker,
        concerned=("gateway",),
        play=play_circuit_breaker,
    ),
    Row(
        name="ejection",
        asked="one error of productpage, then its page; then the rule deleted",
        expected="500, then 503 (no healthy upstream) with flag UH, then 200",
        rule=talk.ejection,
        concerned=("gateway",),
        play=play_ejection,
    ),
    Row(
        name="fault",
        asked="the product page as jason and, at the same time, as three others",
        expected="jason: a page without reviews after 1 s; others: stars",
        rule=talk.fault,
        concerned=("productpage", "reviews"),
        play=play_fault,
    ),
    Row(
        name="canary",
        asked=f"{CANARY_REQUESTS} product pages, reviews split 90/10",
        expected=f"{CANARY_LEAST} to {CANARY_MOST} on v2, all others on v1",
        rule=talk.canary,
        concerned=("productpage",),
        play=play_canary,
    ),
)


def _has_flag(flag: str, path: str) -> Callable[[LogLine], bool]:
    return lambda line: flag in line.flags and line.path.startswith(path)


def _by(agent: str, flag: str) -> Callable[[LogLine], bool]:
    return lambda line: flag in line.flags and line.user_agent == agent


def _status(answer: Answer) -> str:
    return str(answer.status) if answer.status else f"no answer ({answer.text})"


def _versions(answers: list[Answer]) -> Counter[str]:
    """Answers by the version of reviews that they show; pages without one under what they are instead."""
    return Counter(a.reviews_version or _without_reviews(a) for a in answers)


def _without_reviews(answer: Answer) -> str:
    return f"no reviews ({answer.reviews_status})" if answer.status == 200 else _status(answer)


def _rise(before: Counter[str], after: Counter[str]) -> Counter[str]:
    return after - before


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {counts[name]}" for name in sorted(counts)) or "nothing"


def _rises(counts: Counter[str]) -> str:
    return ", ".join(f"{name or 'no subset'} +{counts[name]}" for name in sorted(counts)) or "none"
