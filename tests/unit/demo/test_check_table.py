"""How rows are printed."""

import io

from pilothouse.demo.check_table import CheckRow, print_checks, summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(name: str, *, passed: bool) -> CheckRow:
    return CheckRow(
        name=name,
        asked="the product page [as jason]",
        expected="no reviews",
        seen="a very long sentence " * 8,
        evidence="flag UT",
        passed=passed,
        seconds=1.25,
    )


def printed(file: io.StringIO, *rows: CheckRow) -> list[str]:
    print_checks(rows, file)
    return file.getvalue().splitlines()


def test_each_row_starts_a_line_with_its_name_and_result() -> None:
    lines = printed(io.StringIO(), row("fault", passed=True), row("canary", passed=False))
    assert [line.split()[:2] for line in lines if line[:1].isalpha()][:3] == [
        ["ROW", "RESULT"],
        ["fault", "passed"],
        ["canary", "FAILED"],
    ]


def test_plain_text_has_no_escapes_and_cells_are_wrapped_under_their_heads() -> None:
    lines = printed(io.StringIO(), row("fault", passed=True))
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= 160
    head = next(line for line in lines if line.startswith("ROW"))
    second = next(line for line in lines if line.startswith(" ") and "sentence" in line)
    assert second.index(second.split()[0]) == head.index("SEEN")


def test_square_brackets_are_printed_as_they_are() -> None:
    assert "[as jason]" in " ".join(" ".join(printed(io.StringIO(), row("fault", passed=True))).split())


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[32mpassed" in "".join(printed(Terminal(), row("fault", passed=True)))


def test_the_last_line_counts() -> None:
    rows = (row("fault", passed=True), row("canary", passed=False), row("ejection", passed=True))
    assert printed(io.StringIO(), *rows)[-1] == "2 rows passed, 1 failed"
    assert summary(()) == "0 rows passed, 0 failed"
