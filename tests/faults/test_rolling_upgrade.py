"""A process of an earlier version goes on while a later one swaps a read model for one with more columns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.engine import step
from projections.read_model import ReadModel
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from tests.api.served import Api, served
from tests.support import connect

ROUNDS = 40
WIDER = "SELECT 1 AS added, folded.* FROM (\nFOLD\n) folded"
# By then each connection has prepared its statements.
WARM = 15
LOADS = 4


@pytest.fixture
def later(tmp_path: Path) -> ReadModel:
    """The read model `ai_recommendations` of a later version: its rows have one more column."""
    folder = tmp_path / AI_RECOMMENDATIONS.name
    folder.mkdir()
    table = (AI_RECOMMENDATIONS.folder / "table.sql").read_text()
    (folder / "table.sql").write_text(table.replace("stream  ", "added integer NOT NULL,\n    stream  ", 1))
    fold = (AI_RECOMMENDATIONS.folder / "fold.sql").read_text()
    (folder / "fold.sql").write_text(WIDER.replace("FOLD", fold))
    (folder / "indexes.sql").write_text((AI_RECOMMENDATIONS.folder / "indexes.sql").read_text())
    return replace(AI_RECOMMENDATIONS, folder=folder)


def load(api: Api, warm: threading.Barrier) -> list[int]:
    """Write and read in turns, and meet the others after WARM rounds; return the statuses."""
    statuses = []
    for number in range(ROUNDS):
        if number == WARM:
            warm.wait(60)
        asked = api.ask()
        answered = api.answer(asked.json()["request_id"])
        read = api.get("/recommendations")
        statuses += [asked.status_code, answered.status_code, read.status_code]
        if read.status_code == 200:
            assert answered.json()["recommendation_id"] in [item["id"] for item in read.json()["items"]]
    return statuses


def project(url: str, later: ReadModel, stop: threading.Event) -> None:
    """Be the projector of the later version."""
    with connect(url, "projector") as conn:
        while not stop.wait(0.005):
            step(conn, later)


@pytest.mark.slow
def test_an_earlier_version_serves_during_the_upgrade(ledger: str, later: ReadModel) -> None:
    """No answer is 500, every write is recorded, and every read has what was written before."""
    stop, warm = threading.Event(), threading.Barrier(LOADS + 1)
    with served(ledger) as api, ThreadPoolExecutor(6) as pool:
        api.answered(api.asked())
        loads = [pool.submit(load, api, warm) for _ in range(LOADS)]
        projecting = pool.submit(project, ledger, later, stop)
        try:
            warm.wait(60)
            rebuild_read_models(ledger, [later])
            statuses = [status for each in loads for status in each.result()]
            # Reads are events too, so a read waits for the later version's projector.
            assert "added" in api.items("/recommendations")[0]
        finally:
            stop.set()
        projecting.result()
        assert set(statuses) == {200, 201, 202}
        reasons = api.get("/readyz", None).json()["reasons"]
        assert not any(AI_RECOMMENDATIONS.name in reason for reason in reasons)
    # Back to the version of this program, as after a rollback.
    rebuild_read_models(ledger, [model for model in READ_MODELS if model.name == later.name])
