"""The starting configuration is good, explains itself, and never takes a person's place."""

from pathlib import Path

from pilothouse.config.decode import decode_documents
from pilothouse.demo.config import is_untouched, starting_files, write_configuration
from pilothouse.demo.plan import MeshPlan


def plan_in(folder: Path) -> MeshPlan:
    return MeshPlan.of(8180, str(folder), str(folder / "config"))


def test_every_file_decodes_without_a_problem(tmp_path: Path) -> None:
    kinds = []
    for name, text in starting_files(plan_in(tmp_path)).items():
        decoded = decode_documents(text, name, "default")
        assert decoded.problems == ()
        kinds += [f"{one.key.kind}/{one.key.name}" for one in decoded.objects]
    assert sorted(kinds) == [
        "DestinationRule/details",
        "DestinationRule/productpage",
        "DestinationRule/ratings",
        "DestinationRule/reviews",
        "Gateway/bookinfo",
        "VirtualService/bookinfo",
    ]


def test_the_exercise_at_the_end_works_once_its_marks_are_taken_off(tmp_path: Path) -> None:
    text = starting_files(plan_in(tmp_path))["reviews.yaml"]
    head, mark, tail = text.partition("# Everybody sees black stars:\n#\n")
    assert mark
    decoded = decode_documents(head + tail.replace("# ", ""), "reviews.yaml", "default")
    assert decoded.problems == ()
    assert "VirtualService" in {one.key.kind for one in decoded.objects}


def test_the_gateway_opens_the_port_of_the_plan_on_this_machine_only(tmp_path: Path) -> None:
    text = starting_files(plan_in(tmp_path))["gateway.yaml"]
    assert "number: 8180" in text
    assert "bind: 127.0.0.1" in text


def test_an_empty_folder_is_filled_and_then_untouched(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert is_untouched(plan)
    assert write_configuration(plan)
    assert is_untouched(plan)


def test_a_folder_that_holds_anything_is_left_as_it_is(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    folder = Path(plan.config_folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert not write_configuration(plan)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert not is_untouched(plan)


def test_an_edit_an_addition_or_a_removal_counts_as_touched(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    folder = Path(plan.config_folder)
    write_configuration(plan)
    (folder / "reviews.yaml").write_text(starting_files(plan)["reviews.yaml"] + "# more\n")
    assert not is_untouched(plan)
    (folder / "reviews.yaml").write_text(starting_files(plan)["reviews.yaml"])
    assert is_untouched(plan)
    (folder / "mine.yaml").touch()
    assert not is_untouched(plan)
    (folder / "mine.yaml").unlink()
    (folder / "gateway.yaml").unlink()
    assert not is_untouched(plan)
