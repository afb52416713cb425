"""The benchmark runs, at a size that says nothing about speed. No test passes or fails on a time."""

import json
from pathlib import Path
from unittest import mock

import pytest
from rich.console import Console

from ledger.store.envelope import encode
from ledger.verify.database import verify_chain
from projections.compare import check
from projections.rebuild import rebuild_outdated
from projections.registry import READ_MODELS
from tests.bench import __main__ as command
from tests.bench import acts, growth, live, machine, workload
from tests.bench.bench import Bench, Options, connect
from tests.bench.figures import Figure, Target, beside, markdown, number, quantile, show, write
from tests.bench.workload import BATCH, CHUNK, chunks, history, plan

TINY = Options(events=200, seconds=0.2, rounds=2)


@pytest.mark.slow
@pytest.mark.parametrize("row", command.ROWS)
def test_each_row_is_measured_alone(server_url: str, tmp_path: Path, row: int) -> None:
    """Each row runs through and gives its figures. No row needs what another one leaves behind."""
    figures_of(server_url, [row], tmp_path)


@pytest.mark.slow
def test_rows_share_a_ledger(server_url: str, tmp_path: Path) -> None:
    """Rows that share one are measured one after the other. The others have databases of their own."""
    figures_of(server_url, list(command.SHARED), tmp_path)


def figures_of(server_url: str, rows: list[int], folder: Path) -> None:
    """Measure these rows. Each has figures, each figure a target or a peer; they are shown as table and JSON."""
    bench = Bench(server_url, TINY, Console(stderr=True))
    about = {"options": vars(TINY), **machine.describe(server_url)}
    found, failed = command.run(bench, rows)
    assert ({figure.row for figure in found}, failed) == (set(rows), [])
    assert all(figure.peer or figure.target for figure in found)
    # What a process takes for more events is a difference of two measurements: it may come out a little below nothing.
    assert all(figure.value >= 0 for figure in found if figure.unit != "bytes/event")
    show(found, Console(width=160))
    assert markdown(found, about).count("\n") == 4 + len(found)
    write(folder / "bench.json", found, about)
    written = json.loads((folder / "bench.json").read_text())
    assert [row["what"] for row in written["figures"]] == [figure.what for figure in found]


def test_a_row_that_fails_loses_no_figure_of_others(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows before and after it are measured, also those on the shared ledger."""
    bench = Bench(server_url, TINY, Console(quiet=True))

    def fails(_bench: Bench, _url: str) -> list[Figure]:
        raise RuntimeError

    monkeypatch.setitem(command.SHARED, 6, fails)
    found, failed = command.run(bench, [2, 6, 7])
    assert {figure.row for figure in found} == {2, 7}
    assert failed == [6]


def test_acts_are_what_the_folds_take(server_url: str) -> None:
    """The acts of the loader show in the read models: none is an event that a fold passes over."""
    bench = Bench(server_url, TINY, Console(stderr=True))
    with bench.ledger() as url:
        workload.fill(bench, url, 1500)
        acts.act(bench, url)
        rebuild_outdated(url)
        with connect(url) as conn:
            states = dict(conn.execute("SELECT state, count(*) FROM ai_recommendations GROUP BY 1").fetchall())
            statuses = dict(conn.execute("SELECT status, count(*) FROM portfolio_requests GROUP BY 1").fetchall())
    recommendations = sum(states.values())
    decided = -(-recommendations // acts.DECIDED)
    confirmed = -(-decided // acts.CONFIRMED)
    assert states == {"proposed": recommendations - decided, "approved": confirmed, "waiting": decided - confirmed}
    assert statuses["failed"] == recommendations // acts.FAILED


def test_copied_events_make_a_ledger(server_url: str) -> None:
    """A ledger that was filled with copies verifies, its read models are what the chain gives, and it goes on."""
    bench = Bench(server_url, TINY, Console(quiet=True))
    with bench.ledger() as url, connect(url) as conn:
        with mock.patch.object(growth, "BASE", 1500), mock.patch.object(growth, "COPIES", 2):
            growth.fill(bench, url, 7500)
        report = verify_chain(conn)
        assert (report.ok, report.last_position, report.opened) == (True, 7500, 7500)
        assert not any(check(conn, read_model).findings for read_model in READ_MODELS)
        [(requests, clients)] = conn.execute("SELECT count(*), count(DISTINCT client_id) FROM portfolio_requests")
        assert requests == 5000
        assert clients > 2 * workload.clients(1500), "each copy has clients of its own"
        workload.fill(bench, url, 10, first_request=requests + 1)


@pytest.mark.parametrize("events", [1, 499, 500, 501, 1000, 1999, 41_000])
def test_a_history_has_as_many_events_as_asked_for(events: int) -> None:
    """In all and in chunks, with each answer in a later batch than its request."""
    assert sum(answers + requests for answers, requests in plan(events)) == events
    assert all(answers + requests <= BATCH for answers, requests in plan(events))
    assert sum(size for _, size in chunks(1, events)) == events
    assert all(size <= CHUNK for _, size in chunks(1, events))


def test_answers_follow_their_requests() -> None:
    """An answer is to a request of the batch before, so that append() gets both in order."""
    first, second = list(history(11, 1500, 3))
    assert [new.stream for new in first] == ["request-"] * 500
    assert [new.stream for new in second] == [f"request-{number}" for number in range(11, 511)] + ["request-"] * 500


def test_bodies_are_of_the_size_that_the_design_names() -> None:
    """About 600 bytes, whatever the event."""
    for new in (workload.noted(1), workload.requested("client-0000001"), workload.recommended(123_456)):
        assert 570 <= len(encode(new).body()) <= 630


def test_a_lag_ends_with_the_first_look_that_finds_the_event() -> None:
    """Acknowledgements come in any order; what was projected before it was acknowledged has no lag."""
    acknowledged = [(2, 10.020), (1, 10.010), (3, 10.030)]
    seen = [(0, 10.0), (2, 10.015), (3, 10.050)]
    assert [round(lag) for lag in live.lags(acknowledged, seen)] == [5, 0, 20]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """One disturbed round changes neither the figures nor the ratio."""
    found = beside(1, "appends", "events/s", [40, 1, 44], "COPY", [100, 100, 110], Target("at least", 0.35))
    assert (found.value, found.peer_value, found.ratio, found.met) == (40, 100, 0.4, True)


def test_targets_bound_a_ratio_or_a_figure() -> None:
    """A figure without a target meets nothing; a target on a ratio is not met without a ratio."""
    assert Figure(1, "a", 5, "ms").met is None
    assert Figure(1, "a", 5, "ms", target=Target("at most", 5, of="figure")).met is True
    assert Figure(1, "a", 5, "ms", target=Target("at most", 5)).met is False


def test_quantiles_and_numbers() -> None:
    """p99 of a hundred values is the ninety-ninth; numbers keep three digits that matter."""
    assert [quantile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert quantile([7], 0.5) == 7
    assert [number(value) for value in (1234567.8, 99.44, 0.0123)] == ["1,234,568", "99.4", "0.0123"]


def test_the_command_line_refuses_rows_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """With the usual exit code for a wrong call."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--rows", "1,99"])
    assert ended.value.code == 2
    assert "there is no row 99" in capsys.readouterr().err
