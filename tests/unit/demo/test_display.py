"""What a person reads while the mesh comes up, and afterwards."""

import io

from rich.console import Console

from pilothouse.demo.display import Display, Summary, compose_progress
from pilothouse.demo.plan import MeshPlan
from pilothouse.demo.progress import Line, Part, Progress, State

PLAN = MeshPlan.of(8080, "/run/user/1000/pilothouse-1000/8080", "/run/user/1000/pilothouse-1000/8080/config")


def progress(app: State, sidecar: State, reason: str = "") -> Progress:
    workload = Line("reviews-v1", (Part("app", app), Part("sidecar", sidecar, reason)))
    return Progress((Line("control plane", (Part("", State.READY),)), workload))


class Terminal(io.StringIO):
    """Somebody looks."""

    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    """A reader who is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_in_a_file_each_part_is_told_once_when_it_is_ready() -> None:
    file = io.StringIO()
    display = Display(file)
    with display.starting():
        display.show(progress(State.STARTING, State.REGISTERED))
        display.show(progress(State.REGISTERED, State.READY))
        display.show(progress(State.READY, State.READY))
    assert file.getvalue().splitlines() == [
        "control plane is ready",
        "reviews-v1 sidecar is ready",
        "reviews-v1 app is ready",
    ]


def test_on_a_terminal_every_part_has_its_state_and_what_it_waits_for() -> None:
    file = io.StringIO()
    picture = compose_progress(progress(State.STARTING, State.REGISTERED, "envoy waits for its configuration"))
    Console(file=file, width=120).print(picture)
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert lines[0] == ["control", "plane", "●", "ready"]
    assert " ".join(lines[1]) == ("reviews-v1 · app starting ◐ sidecar registered envoy waits for its configuration")


def test_a_picture_that_lives_ends_with_the_newest_state_and_events_stay_readable() -> None:
    file = Terminal()
    display = Display(file)
    with display.starting():
        display.show(progress(State.STARTING, State.STARTING))
        display.tell("reviews-v1 app was killed by SIGKILL")
        display.show(progress(State.READY, State.READY))
    display.tell("afterwards")
    text = file.getvalue()
    assert "reviews-v1 app was killed by SIGKILL" in text
    assert "● app ready" in text.rpartition("starting")[2]
    assert text.endswith("afterwards\n")


def test_the_summary_says_where_to_click_what_to_try_and_where_things_are() -> None:
    file = io.StringIO()
    Display(file).summarise(Summary(PLAN, 6.04, written=True, app_pid=4711))
    text = file.getvalue()
    assert "The mesh is ready after 6.0 s: open http://127.0.0.1:8080/productpage\n" in text
    assert f"$EDITOR {PLAN.config_folder}/reviews.yaml" in text
    assert "pilothouse status" in text
    assert "kill -9 4711" in text
    assert f"{PLAN.config_folder}  (written for you" in text
    assert PLAN.log_folder in text
    assert "plaintext" in text


def test_a_folder_that_was_there_before_is_said_to_be_used_as_it_is() -> None:
    file = io.StringIO()
    Display(file).summarise(Summary(PLAN, 6.0, written=False, app_pid=1))
    assert "was there before and is used as it is" in file.getvalue()


def test_long_paths_are_not_broken_in_files() -> None:
    file = io.StringIO()
    Display(file).tell("x" * 500)
    assert file.getvalue() == "x" * 500 + "\n"


def test_brackets_in_a_sentence_are_no_markup() -> None:
    file = io.StringIO()
    Display(file).tell("[bold]reviews[/bold] failed")
    assert file.getvalue() == "[bold]reviews[/bold] failed\n"


def test_a_reader_who_is_gone_is_noticed_and_stops_nobody_by_an_error() -> None:
    gone: list[str] = []
    Display(BrokenPipe(), on_gone=lambda: gone.append("gone")).tell("one more event")
    assert gone == ["gone"]
