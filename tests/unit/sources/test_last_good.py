"""Which version of each object counts."""

from pilothouse.config.decode import decode_documents
from pilothouse.config.objects import Decoded
from pilothouse.kit.source_codes import FILE_UNREADABLE
from pilothouse.sources.last_good import FileState, keep_all, merge, take_text

from .support import BROKEN_FIELD, HALF_WRITTEN, a_route


def read(previous: FileState, text: str) -> FileState:
    return take_text(previous, text, text, decode_documents(text, previous.path, "default"))


def a_file(text: str, path: str = "a.yaml") -> FileState:
    return read(FileState(path), text)


def names(state: FileState) -> list[str]:
    return [o.key.name for o in state.good]


def test_unchanged_documents_of_a_changed_file_stay_the_same_objects() -> None:
    before = a_file(a_route("reviews") + "---\n" + a_route("ratings"))
    after = read(before, a_route("reviews") + "---\n" + a_route("ratings", timeout="2s"))
    assert after.objects[0] is before.objects[0]
    assert after.objects[1] is not before.objects[1]


def test_a_broken_document_keeps_its_last_good_version_and_says_which_line_goes_on() -> None:
    before = a_file(a_route("ratings") + "---\n" + a_route("reviews"))
    after = read(before, a_route("ratings") + "---\n" + BROKEN_FIELD)
    assert sorted(names(after)) == ["ratings", "reviews"]
    assert after.carried == (before.objects[1],)
    (problem,) = after.problems
    assert problem.is_error
    assert f"VirtualService default/reviews, line {before.objects[1].origin.line}, goes on" in problem.message


def test_a_broken_document_does_not_keep_a_neighbour_that_was_removed() -> None:
    before = a_file(a_route("ratings") + "---\n" + a_route("reviews"))
    assert names(read(before, BROKEN_FIELD)) == ["reviews"]


def test_a_half_written_file_keeps_everything_that_cannot_be_seen() -> None:
    before = a_file(a_route("ratings") + "---\n" + a_route("reviews"))
    after = read(before, a_route("ratings") + "---\n" + HALF_WRITTEN)
    assert sorted(names(after)) == ["ratings", "reviews"]
    assert any("goes on" in problem.message for problem in after.problems)


def test_a_document_that_was_never_good_is_left_out() -> None:
    state = a_file(BROKEN_FIELD)
    assert names(state) == []
    assert "goes on" not in state.problems[0].message


def test_a_carried_object_is_carried_through_further_broken_versions_until_it_is_good_again() -> None:
    good = a_file(a_route("reviews"))
    broken = read(read(good, BROKEN_FIELD), HALF_WRITTEN)
    assert broken.carried == good.objects
    mended = read(broken, a_route("reviews", timeout="3s"))
    assert mended.carried == ()
    assert mended.problems == ()


def test_removing_the_broken_document_removes_its_last_good_version() -> None:
    broken = read(a_file(a_route("reviews")), BROKEN_FIELD)
    assert names(read(broken, a_route("ratings"))) == ["ratings"]


def test_a_file_that_cannot_be_had_keeps_everything() -> None:
    state = keep_all(a_file(a_route("reviews")), FILE_UNREADABLE, "cannot be read: Permission denied")
    assert names(state) == ["reviews"]
    assert "Permission denied (the last good version of" in state.problems[0].message


def test_of_two_files_with_one_object_the_first_counts_and_both_are_named() -> None:
    delta = merge("files", (a_file(a_route("reviews")), a_file(a_route("reviews", timeout="9s"), "b.yaml")))
    (winner,) = delta.objects
    assert winner.origin.path == "a.yaml"
    (problem,) = delta.problems
    assert problem.code.code == "duplicate-object"
    assert "a.yaml:1" in str(problem)
    assert "b.yaml:1" in str(problem)


def test_an_object_may_move_away_from_a_file_that_is_broken() -> None:
    broken = read(a_file(a_route("reviews")), BROKEN_FIELD)
    delta = merge("files", (broken, a_file(a_route("reviews", timeout="9s"), "b.yaml")))
    assert [o.origin.path for o in delta.objects] == ["b.yaml"]
    assert [p.code.code for p in delta.problems] == ["unknown-field"]


def test_decoding_nothing_is_an_empty_state() -> None:
    assert take_text(FileState("a.yaml"), "d", "", Decoded()) == FileState("a.yaml", "d")
