"""What agents last said, by node."""

from pilothouse.model.registration import EnvoyState
from pilothouse.server import agents
from pilothouse.server.agents import AgentBoard, AgentReport

LIVE = EnvoyState(live=True, ready=True)


def a_report(node: str = "n1", serial: int = 1) -> AgentReport:
    return AgentReport(node, pid=7, workload_id="w", serial=serial)


def test_the_newest_word_of_an_agent_is_kept() -> None:
    board = AgentBoard()
    board.connect(a_report())
    board.heard("n1", 1, 5.0, LIVE)
    board.heard("n1", 1, 6.0)
    report = board.find("n1")
    assert report is not None
    assert (report.envoy, report.heard_at, report.connected, len(board)) == (LIVE, 6.0, True, 1)


def test_a_reconnected_agent_keeps_what_is_known_of_its_envoy() -> None:
    board = AgentBoard()
    board.connect(a_report())
    board.heard("n1", 1, 5.0, LIVE)
    board.connect(a_report(serial=2))
    report = board.find("n1")
    assert report is not None
    assert report.envoy == LIVE


def test_an_older_stream_changes_nothing() -> None:
    board = AgentBoard()
    board.connect(a_report())
    board.connect(a_report(serial=2))
    board.lost("n1", 1)
    board.left("n1", 1)
    board.heard("n1", 1, 9.0, LIVE)
    report = board.find("n1")
    assert report is not None
    assert report.connected
    assert report.envoy is None


def test_a_lost_agent_is_remembered_and_one_that_left_is_not() -> None:
    board = AgentBoard()
    board.connect(a_report("lost"))
    board.connect(a_report("left"))
    board.lost("lost", 1)
    board.left("left", 1)
    assert [(r.node_id, r.connected) for r in board.all()] == [("lost", False)]
    assert len(board) == 0


def test_only_so_many_lost_agents_are_remembered() -> None:
    board = AgentBoard()
    for number in range(agents.MOST_LOST + 5):
        board.connect(a_report(f"n{number}"))
        board.lost(f"n{number}", 1)
    assert len(board.all()) == agents.MOST_LOST
    assert board.find("n0") is None
