"""Dialogues between a proxy and a stream machine, as text that reads like a story.

A file is a sequence of blocks: comments (``#``), commands, ``----``, and what the machine answered to them. After a
change of behaviour ``pytest tests/transcripts --update`` rewrites the answers; read the diff before you believe it.

    offer v2 clusters=[a b:2 c!] ...   publish a snapshot; ``b:2`` is version 2 of b (1 if not said), ``c!`` a resource
                                       that pulls nothing behind it; types that are not named stay as they were
    receive CDS * a -b {a:1}           a request: subscribe, unsubscribe, initial versions
    ack n1 n2 / nack n3 "text"         answers
    connect r                          a proxy that starts in the usual order, subscribes to the routes named and
                                       acknowledges everything; nothing of it is printed
    reconnect                          a new stream; it is offered the snapshot that the old one had
    tick 5                             five seconds pass
    status [CDS ...] / acknowledged / counters / deadline
    stream sotw                        from here on the state-of-the-world variant (no initial versions)
"""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilothouse.kit.origin import FileOrigin
from pilothouse.xds.delta import DeltaStream
from pilothouse.xds.protocol import DeltaRequest, DeltaResponse, SotwRequest, SotwResponse, TypeStatus
from pilothouse.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SHORT_NAMES,
    VIRTUAL_HOST,
    Resource,
    ResourceSet,
    Snapshot,
    resource_set,
)
from pilothouse.xds.settings import StreamSettings
from pilothouse.xds.sotw import SotwStream

KEYWORDS = {
    "clusters": CLUSTER,
    "endpoints": ENDPOINT,
    "listeners": LISTENER,
    "routes": ROUTE,
    "vhosts": VIRTUAL_HOST,
}
TYPE_URLS = {short: type_url for type_url, short in SHORT_NAMES.items()}
RULE = "----"
NOTHING = "(nothing)"


def resource(type_url: str, spelling: str) -> Resource:
    name, _, version = spelling.rstrip("!").partition(":")
    follows: tuple[tuple[str, str], ...] = ()
    if type_url == CLUSTER and not spelling.endswith("!"):
        follows = ((ENDPOINT, name),)
    if type_url == ROUTE and not spelling.endswith("!"):
        follows = ((VIRTUAL_HOST, f"{name}/"),)
    origin = FileOrigin(f"{name.replace('/', '-')}.yaml", 3)
    return Resource(name, version or "1", f"{name}:{version}".encode(), (origin,), follows)


def stand_in(type_url: str, name: str) -> Resource | None:
    return Resource(name, "empty", b"") if type_url in (ROUTE, ENDPOINT) else None


class Dialogue:
    """Plays commands against one stream after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settings = StreamSettings(ack_deadline=5.0, absent=stand_in)
        self.layers: dict[str, tuple[ResourceSet, ...]] = {}
        self.sotw = False
        self.stream: DeltaStream | SotwStream = DeltaStream(settings=self.settings)
        self.sent: dict[str, DeltaResponse | SotwResponse] = {}
        self.names: dict[str, tuple[str, ...]] = {}

    def play(self, line: str) -> Iterator[str]:
        verb, *words = shlex.split(line)
        command: Callable[[list[str]], Iterator[str]] = getattr(self, f"play_{verb}")
        yield from command(words)

    def play_stream(self, words: list[str]) -> Iterator[str]:
        self.sotw = words == ["sotw"]
        yield from self.play_reconnect([])

    def play_reconnect(self, _: list[str]) -> Iterator[str]:
        offered = self.stream.offered
        self.stream = SotwStream(settings=self.settings) if self.sotw else DeltaStream(settings=self.settings)
        self.sent, self.names = {}, {}
        if offered is not None:
            yield from self._told(self.stream.offer(offered, self.now))

    def play_offer(self, words: list[str]) -> Iterator[str]:
        version, *_ = words
        for keyword, spelling in re.findall(r"(\w+)=\[(.*?)\]", " ".join(words)):
            type_url = KEYWORDS[keyword]
            self.layers = {
                **self.layers,
                type_url: (resource_set(*(resource(type_url, word) for word in spelling.split())),),
            }
        yield from self._told(self.stream.offer(Snapshot(self.layers, version), self.now))

    def play_receive(self, words: list[str]) -> Iterator[str]:
        short, *rest = words
        text = " ".join(rest)
        versions = dict(pair.split(":") for group in re.findall(r"{(.*?)}", text) for pair in group.split())
        names = re.sub(r"{.*?}", "", text).split()
        type_url = TYPE_URLS.get(short, short)
        if isinstance(self.stream, DeltaStream):
            request = DeltaRequest(
                type_url,
                tuple(name for name in names if not name.startswith("-")),
                tuple(name[1:] for name in names if name.startswith("-")),
                versions,
            )
            yield from self._told(self.stream.receive(request, self.now))
        else:
            self.names[type_url] = tuple(names)
            last = next((r for r in reversed(self.sent.values()) if r.type_url == type_url), None)
            nonce = last.nonce if last is not None else ""
            yield from self._told(self.stream.receive(SotwRequest(type_url, tuple(names), nonce=nonce), self.now))

    def play_connect(self, routes: list[str]) -> Iterator[str]:
        endpoints = [name for layer in self.layers.get(ENDPOINT, ()) for name in layer]
        for words in (["CDS"], ["EDS", *endpoints], ["LDS"], ["RDS", *routes], ["VHDS"]):
            for _ in self.play_receive(words):
                pass
            if words != ["CDS"]:
                self._acknowledge_everything()
        yield from ()

    def _acknowledge_everything(self) -> None:
        answered: set[str] = set()
        while waiting := [nonce for nonce in self.sent if nonce not in answered]:
            for nonce in waiting:
                answered.add(nonce)
                for _ in self._answer(nonce, None):
                    pass

    def play_ack(self, words: list[str]) -> Iterator[str]:
        for nonce in words:
            yield from self._answer(nonce, None)

    def play_nack(self, words: list[str]) -> Iterator[str]:
        nonce, error = words
        yield from self._answer(nonce, error)

    def _answer(self, nonce: str, error: str | None) -> Iterator[str]:
        type_url = self.sent[nonce].type_url if nonce in self.sent else CLUSTER
        if isinstance(self.stream, DeltaStream):
            yield from self._told(self.stream.receive(DeltaRequest(type_url, nonce=nonce, error=error), self.now))
        else:
            names = self.names.get(type_url, ())
            request = SotwRequest(type_url, names, nonce=nonce, error=error)
            yield from self._told(self.stream.receive(request, self.now))

    def play_tick(self, words: list[str]) -> Iterator[str]:
        self.now += float(words[0])
        if self.stream.deadline is not None and self.stream.deadline <= self.now:
            yield from self._told(self.stream.expire(self.now))

    def play_status(self, words: list[str]) -> Iterator[str]:
        for status in self.stream.status():
            if not words or SHORT_NAMES[status.type_url] in words:
                yield from _status_lines(status)

    def play_acknowledged(self, _: list[str]) -> Iterator[str]:
        offered = self.stream.offered
        yield "yes" if offered is not None and self.stream.acknowledged(offered) else "no"

    def play_counters(self, _: list[str]) -> Iterator[str]:
        yield f"{self.stream.sent_resources} resources in {self.stream.sent_responses} responses"

    def play_deadline(self, _: list[str]) -> Iterator[str]:
        yield "none" if self.stream.deadline is None else f"at {self.stream.deadline:g} s"

    def _told(self, responses: list[DeltaResponse] | list[SotwResponse]) -> Iterator[str]:
        for response in responses:
            self.sent[response.nonce] = response
            plus = "+" if isinstance(response, DeltaResponse) else ""
            words = [f"{plus}{r.name}:{r.version}" for r in response.resources]
            if isinstance(response, DeltaResponse):
                words += [f"-{name}" for name in response.removed]
            yield f"{SHORT_NAMES[response.type_url]} {response.nonce} {' '.join(words) or '(empty)'}"


def _status_lines(status: TypeStatus) -> Iterator[str]:
    line = f"{SHORT_NAMES[status.type_url]:5}{status.state} since {status.since:g} s, holds {status.resources}"
    if status.outstanding:
        line += f", outstanding {' '.join(status.outstanding)}"
    yield line + (f": {status.reason}" if status.reason else "")
    for refusal in status.refusals:
        origins = ", ".join(str(origin) for origin in refusal.origins)
        yield f"     refused {refusal.name}:{refusal.version} ({origins}): {refusal.reason}"


def replay(text: str) -> str:
    """The same transcript with the answers that the machine gives now."""
    dialogue, written = Dialogue(), []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        told = lines[: lines.index(RULE)] if RULE in lines else lines
        commands = [line for line in told if line and not line.startswith("#")]
        answers = [answer for line in commands for answer in dialogue.play(line)]
        written.append("\n".join([*told, RULE, *(answers or [NOTHING])] if commands else told))
    return "\n\n".join(written) + "\n"


def test_transcript(transcript: Path, request: pytest.FixtureRequest) -> None:
    expected = transcript.read_text()
    seen = replay(expected)
    if request.config.getoption("--update"):
        transcript.write_text(seen)
        return
    assert seen == expected, f"to accept: pytest {transcript.parent.name} --update, and read the diff"
