"""Read models as folders: what a new one takes, and what each of ours must have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from pydantic import BaseModel

from ledger.database import conninfo
from projections import registry
from projections.compare import check
from projections.engine import step
from projections.read_model import ReadModel, changing, of_client
from projections.reads import AsOf
from projections.rebuild import outdated_read_models, rebuild_outdated, rebuild_read_models
from projections.registry import READ_MODELS
from projections.rows import read_rows
from tests.projections.scenes import answer, ask, head, standing
from tests.support import connect

each_read_model = pytest.mark.parametrize("read_model", READ_MODELS, ids=lambda read_model: read_model.name)

FOLD = """
SELECT asked.stream, asked.position AS id, asked.client_id, count(other.position) AS answers
FROM slice asked
LEFT JOIN slice other ON other.stream = asked.stream AND other.type = 'recommendation.recorded'
WHERE asked.type = 'portfolio.requested'
GROUP BY asked.stream, asked.position, asked.client_id
"""
TABLE = (
    "CREATE TABLE answer_counts (stream text NOT NULL, id bigint NOT NULL, client_id text, answers bigint NOT NULL);"
)
INDEXES = (
    "ALTER TABLE answer_counts ADD PRIMARY KEY (id); CREATE INDEX answer_counts_stream_idx ON answer_counts (stream)"
)


class AnswerCount(BaseModel):
    """How many answers a request has."""

    id: int
    client_id: str | None
    answers: int


@pytest.fixture
def answer_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadModel:
    """A read model that is made here: a folder, and an entry in the list."""
    folder = tmp_path / "answer_counts"
    folder.mkdir()
    for name, text in (("fold", FOLD), ("table", TABLE), ("indexes", INDEXES)):
        (folder / f"{name}.sql").write_text(text, "utf-8")
    read_model = ReadModel(folder, AnswerCount, {**of_client(), **changing("answers")})
    monkeypatch.setattr(registry, "READ_MODELS", (*READ_MODELS, read_model))
    return read_model


def read(url: str, read_model: ReadModel, upto: int | None, **filters: object) -> list[dict[str, Any]]:
    """Read rows as the API does."""

    async def work() -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await read_rows(conn, read_model, filters, as_of=AsOf(upto), limit=100)

    return asyncio.run(work())


def test_a_read_model_is_a_folder_and_an_entry_in_the_list(database_url: str, answer_counts: ReadModel) -> None:
    """Nothing else is needed for its table, live steps, reads as of a position, a rebuild and a comparison."""
    with connect(database_url) as conn, connect(database_url, "projector") as live:
        asked = ask(conn, 4)
        assert outdated_read_models(conn) == [answer_counts]
        (report,) = rebuild_outdated(database_url)
        assert (report.name, report.rows) == ("answer_counts", 4)
        before = head(conn)
        answer(conn, asked)
        assert step(live, answer_counts) == head(conn)
        assert standing(conn, answer_counts) == (head(conn), None)
        assert [row["answers"] for row in read(database_url, answer_counts, None)] == [1, 0, 1, 1]
        assert [row["answers"] for row in read(database_url, answer_counts, before)] == [0, 0, 0, 0]
        assert len(read(database_url, answer_counts, before, client_id="client-0", answers=0)) == 2
        assert len(read(database_url, answer_counts, head(conn), answers=1)) == 3
        (report,) = rebuild_read_models(database_url, [answer_counts])
        assert (report.rows, report.differing) == (4, 0)
        with connect(database_url, "verifier") as verifier:
            assert check(verifier, answer_counts).differences == ()


@each_read_model
def test_the_row_type_has_the_columns_of_the_table(database_url: str, read_model: ReadModel) -> None:
    """All but `stream`, by name; and a column that is never null has no type that allows None."""
    columns = "SELECT attname, attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
    with connect(database_url) as conn:
        not_null = {name: flag for name, flag in conn.execute(columns, [read_model.name]) if name != "stream"}
    fields = read_model.row.model_fields
    assert fields.keys() == not_null.keys()
    optional = {name for name, field in fields.items() if type(None) in get_args(field.annotation)}
    assert {name for name in optional if not_null[name]} == set()


@each_read_model
def test_each_filter_is_about_a_column(database_url: str, read_model: ReadModel) -> None:
    """PostgreSQL takes each condition on the table; the agents have no filter by client."""
    others = dict.fromkeys(("upto", "window_first", "window_last", "window_start", "window_end"))
    with connect(database_url) as conn:
        for name, allowed in read_model.filters.items():
            select = psycopg.sql.SQL("SELECT FROM {} model WHERE {}")
            value = [None] if name == "ids" else None
            rows = conn.execute(
                select.format(psycopg.sql.Identifier(read_model.name), allowed.condition), {**others, name: value}
            )
            assert rows.rowcount == 0
