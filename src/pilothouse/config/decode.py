"""A YAML text → typed, validated objects, and every Problem at once.

The door of this room. A document is read, its kind looked up, its spec decoded strictly; only what does not fit takes
the slow way (old spellings, explanation). A bad object is left out and named; its neighbours are not affected.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Generic, TypeVar

import msgspec

from pilothouse.config.documents import Document, read_documents
from pilothouse.config.duration import Duration, decode_duration
from pilothouse.config.explain import MAX_FINDINGS, describe, explain
from pilothouse.config.fields import Canonical, canonical
from pilothouse.config.findings import MAX_MESSAGE, Finding, Path, all_of, did_you_mean, shortened, show_path
from pilothouse.config.kinds import Kind
from pilothouse.config.metadata import OBJECT_FIELDS, Metadata, kind_of, validate_metadata
from pilothouse.config.objects import ConfigKey, ConfigObject, Decoded, Spec
from pilothouse.config.positions import Place
from pilothouse.config.schema import Message
from pilothouse.config.validate import validate
from pilothouse.kit import codes
from pilothouse.kit.origin import FileOrigin
from pilothouse.kit.problem import Problem, Severity
from pilothouse.model.labels import labels_of

M = TypeVar("M", bound=Message)


def decode_documents(text: str, path: str, default_namespace: str = "default") -> Decoded:
    """The objects of a YAML stream. ``path`` is what Problems show; it is not opened. Never raises for bad input.

    ``default_namespace`` is for objects that name none. Empty documents are skipped; lists (``kind: List``, as kubectl
    writes them) are taken apart. Problems are in the order of their places.
    """
    objects: list[ConfigObject] = []
    problems: list[Problem] = []
    for read in read_documents(text, path):
        if isinstance(read, Problem):
            problems.append(read)
            continue
        for part in split_list(read):
            decoded = decode_document(part, default_namespace)
            objects += decoded.objects
            problems += decoded.problems
    unique = drop_duplicates(objects)
    return Decoded(unique.objects, tuple(sorted([*problems, *unique.problems], key=place_in_text)))


def place_in_text(problem: Problem) -> tuple[int, int]:
    """Line and column, by which the Problems of one text are sorted."""
    origin = problem.origin
    return (origin.line, origin.column) if isinstance(origin, FileOrigin) else (0, 0)


def drop_duplicates(objects: Iterable[ConfigObject]) -> Decoded:
    """The first object of each key, and a Problem for each later one. For objects from several texts, too."""
    kept: dict[ConfigKey, ConfigObject] = {}
    problems: list[Problem] = []
    for candidate in objects:
        first = kept.setdefault(candidate.key, candidate)
        if first is not candidate:
            message = f"an object of the same kind, namespace and name is already at {first.origin}"
            problems.append(Problem(codes.DUPLICATE_OBJECT, "", message, candidate.origin))
    return Decoded(tuple(kept.values()), tuple(problems))


def split_list(document: Document) -> Iterator[Document]:
    """The items of a list document, or the document itself."""
    value = document.value
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(items, list) or not str(value.get("kind")).endswith("List"):
        yield document
        return
    for index, item in enumerate(items):
        prefix = f"items[{index}]"
        flaws = tuple(flaw for flaw in document.flaws if flaw == prefix or flaw.startswith(f"{prefix}."))
        yield Document(item, document.place.inside("items", index), flaws)


def decode_document(document: Document, default_namespace: str) -> Decoded:
    """The object of one document, if nothing in it is wrong."""
    value = document.value
    if not isinstance(value, dict):
        found: Kind | Finding = Finding(codes.DOCUMENT_SHAPE, (), f"expected an object, found {describe(value)}")
    else:
        found = kind_of(value)
    if isinstance(found, Finding):
        return Decoded((), (problem_at(found, document.place, name_of(value, default_namespace)),))
    if found.spec is None:
        finding = Finding(codes.KIND_NOT_SERVED, (), f"{found.name} is not served yet")
        return Decoded((), (problem_at(finding, document.place, name_of(value, default_namespace)),))
    return _decode_object(found.spec, found.name, document, default_namespace)


def name_of(value: object, default_namespace: str) -> ConfigKey:
    """What an object calls itself, as far as it can be told without decoding it."""
    fields = value if isinstance(value, dict) else {}
    metadata = fields.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    kind, namespace, name = fields.get("kind"), named.get("namespace"), named.get("name")
    return ConfigKey(
        kind if isinstance(kind, str) else "",
        namespace if isinstance(namespace, str) and namespace else default_namespace,
        name if isinstance(name, str) else "",
    )


@dataclass(slots=True)
class Typed(Generic[M]):
    """A decoded message, what was noticed on the way, and which parts of it are not what was written."""

    value: M
    findings: list[Finding] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    renamed: Mapping[str, str] = field(default_factory=dict)


def decode_as(kind: type[M], value: object, path: Path) -> Typed[M]:
    """``value`` as a message of ``kind``. Where it does not fit, it is repaired and the findings say so."""
    try:
        return Typed(msgspec.convert(value, kind, dec_hook=decode_special))
    except msgspec.ValidationError:
        found = Canonical()
        value = canonical(kind, value, path, found)
    try:
        return Typed(msgspec.convert(value, kind, dec_hook=decode_special), found.findings, [], found.renamed)
    except msgspec.ValidationError:
        explained = explain(kind, value, path)
    repaired = msgspec.convert(explained.repaired, kind, dec_hook=decode_special)
    return Typed(repaired, [*found.findings, *explained.findings], explained.damaged, found.renamed)


def decode_special(kind: type, value: object) -> object:
    """msgspec's hook for the one type of ours that it does not know."""
    if kind is Duration and isinstance(value, str):
        return decode_duration(value)
    raise ValueError("expected a duration")


def _decode_object(spec_type: type[Spec], kind: str, document: Document, default_namespace: str) -> Decoded:
    value = document.value if isinstance(document.value, dict) else {}
    metadata = decode_as(Metadata, value.get("metadata") or {}, ("metadata",))
    spec: Typed[Spec] = decode_as(spec_type, value.get("spec") or {}, ("spec",))
    key = ConfigKey(kind, metadata.value.namespace or default_namespace, metadata.value.name)
    misfits = [*metadata.findings, *spec.findings]
    rules = chain(
        _frame(value), validate_metadata(metadata.value), validate(key, spec.value) if value.get("spec") else ()
    )
    damaged = [*metadata.damaged, *spec.damaged]
    broken = (finding for finding in rules if not touches(finding.path, damaged))
    findings = bounded(chain(misfits, broken if len(misfits) < MAX_FINDINGS else ()), document.flaws)
    place = replace(document.place, renamed={**metadata.renamed, **spec.renamed})
    problems = tuple(problem_at(finding, place, key) for finding in findings)
    if document.flaws or any(problem.is_error for problem in problems):
        return Decoded((), problems)
    made = ConfigObject(
        key=key,
        spec=spec.value,
        origin=replace(place.origin(), kind=kind, namespace=key.namespace, name=key.name),
        created=metadata.value.creation_timestamp,
        labels=labels_of(metadata.value.labels),
        marks=place.marks(),
    )
    return Decoded((made,), problems)


def _frame(value: Mapping[str, object]) -> Iterator[Finding]:
    """The outermost fields."""
    for name in value:
        if name not in OBJECT_FIELDS:
            remedy = did_you_mean(name, OBJECT_FIELDS) or f"Its fields are {all_of(OBJECT_FIELDS)}."
            yield Finding(codes.UNKNOWN_FIELD, (name,), f"an object has no field '{name}'", remedy, at_key=True)
    if not value.get("spec"):
        yield Finding(codes.MISSING_FIELD, ("spec",), "the object has no spec")


def bounded(findings: Iterable[Finding], flaws: tuple[str, ...]) -> list[Finding]:
    """The findings that are said: not those inside parts that could not be read, and not more than a person reads.

    Errors and the rest are counted apart, so that no number of warnings hides an error.
    """
    kept: list[Finding] = []
    counts = {True: 0, False: 0}
    for finding in findings:
        if inside(finding.path, flaws):
            continue
        is_error = finding.code.severity is Severity.ERROR
        counts[is_error] += 1
        if counts[is_error] <= MAX_FINDINGS:
            kept.append(finding)
        elif is_error:
            break
    if max(counts.values()) > MAX_FINDINGS:
        kept.append(Finding(codes.TOO_MANY_FINDINGS, (), f"more than {MAX_FINDINGS} things are wrong with this object"))
    return kept


def touches(path: Path, damaged: Iterable[Path]) -> bool:
    """Whether a finding at ``path`` may come from a damaged part alone: one of both paths begins with the other."""
    return any(path[: len(part)] == part or part[: len(path)] == path for part in damaged)


def inside(path: Path, flaws: Iterable[str]) -> bool:
    """Whether ``path`` is, or is below, a part that could not even be read, and of which that was said already."""
    shown = show_path(path)
    return any(shown == flaw or shown.startswith((f"{flaw}.", f"{flaw}[")) for flaw in flaws)


def problem_at(finding: Finding, place: Place, key: ConfigKey) -> Problem:
    """A finding with its line and its object."""
    origin = place.origin(finding.path, at_key=finding.at_key)
    origin = replace(origin, kind=key.kind, namespace=key.namespace, name=shortened(key.name, MAX_MESSAGE))
    path = shortened(show_path(finding.path), MAX_MESSAGE)
    message, remedy = shortened(finding.message, MAX_MESSAGE), shortened(finding.remedy, MAX_MESSAGE)
    return Problem(finding.code, path, message, origin, remedy)
