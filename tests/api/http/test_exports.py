"""Exports over HTTP: made in the background, verified from outside, kept for a time, and on record."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.jobs.kind import JobFiles
from api.jobs.kinds import KINDS
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.tlog.trust import Trust
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from tests.api.http.test_erasure import ERASE, policies
from tests.api.jobs.exporting import EXPORT_STEPS, ask_export, make_exports
from tests.api.jobs.running import in_process
from tests.api.served import Api, make_tokens, problem, served
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.tlog.logs import key_for, sign
from tests.support import connect, eventually

WHY = {"purpose": "letter of the examiner of 3 March", "recipient": "Examiner Doe"}


class Exporting:
    """An application that signs and makes exports, its key and its folder."""

    def __init__(self, api: Api, key: SigningKey, folder: Path) -> None:
        self.api = api
        self.key = key
        self.folder = folder

    def post(self, role: str = "compliance", key: str | None = None, **body: Any) -> httpx.Response:
        """Ask for an export."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.api.call("POST", "/exports", role, json={**WHY, **body}, headers=headers)

    def made(self, **body: Any) -> dict[str, Any]:
        """Ask for an export, and wait until it has ended."""
        answer = self.post(**body)
        assert answer.status_code == 202, answer.text
        path = answer.headers["location"]
        return eventually("it ends", lambda: self._ended(path))

    def _ended(self, path: str) -> dict[str, Any] | None:
        row: dict[str, Any] = self.api.get(path).json()
        return None if row["state"] == "requested" else row

    def file(self, row: dict[str, Any], role: str = "auditor") -> httpx.Response:
        """Fetch the file."""
        return self.api.get(f"/exports/{row['id']}/file", role)

    def audited(self, data: bytes) -> Audit:
        """Audit a bundle as somebody who trusts the log's key."""
        return audit_bundle(io.BytesIO(data), Trust((self.key.verifier,)))


@pytest.fixture(scope="module")
def exporting(module_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporting]:
    """The application with a case of client-1."""
    folder = tmp_path_factory.mktemp("exports")
    key = key_for(module_ledger)
    signing = SigningConfig(key, folder / "log.key.last", every_s=0.05)
    files = JobFiles(folder / "files")
    with served(module_ledger, job_kinds=KINDS, job_files=files, signing=signing, policies=policies(folder, 0)) as api:
        api.answered(api.asked(notes="likes boats"))
        api.answered(api.asked(client_id="client-2"))
        yield Exporting(api, key, files.folder)


def test_a_client_is_exported(exporting: Exporting) -> None:
    """The bundle verifies from outside and is complete; the list says what was disclosed, why, and to whom."""
    row = exporting.made(client=1, withhold=["notes"])
    assert (row["state"], row["client"], row["withhold"], row["requested_by"]) == (
        "completed",
        1,
        ["notes"],
        "compliance",
    )
    assert {name: row[name] for name in WHY} == WHY
    assert row["fields"]["portfolio.requested.notes"] == {"disclosed": 0, "withheld": 1, "erased": 0}
    answer = exporting.file(row)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert len(answer.content) == row["bytes"]
    assert hashlib.sha256(answer.content).hexdigest() == row["sha256"]
    audit = exporting.audited(answer.content)
    assert audit.ok, audit.findings
    assert audit.manifest is not None
    assert (audit.manifest.count, audit.manifest.selection.client) == (row["events"], "client-1")
    assert b"likes boats" not in answer.content
    [path] = exporting.folder.glob(f"export-{row['id']}-*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_requests_and_ranges_are_exported(exporting: Exporting) -> None:
    """A request shows all its values; a range of positions or of times shows none, and ends where it was asked for."""
    one = exporting.made(request=1)
    assert one["fields"]["portfolio.requested.notes"]["disclosed"] == 1
    positions = exporting.made(position_from=2, position_to=5)
    assert (positions["events"], positions["first_position"], positions["last_position"]) == (4, 2, 5)
    assert all(counts["disclosed"] == 0 for counts in positions["fields"].values())
    open_end = exporting.made(position_from=1)
    times = exporting.made(recorded_from="2020-01-01T00:00:00Z", recorded_to="2200-01-01T00:00:00Z")
    for row in (one, positions, open_end, times):
        audit = exporting.audited(exporting.file(row).content)
        assert audit.ok, audit.findings
    assert times["first_position"] == 1
    before = exporting.made(recorded_to="2020-01-01T00:00:00Z")
    assert (before["state"], before["failure_reason"]) == ("failed", "nothing-covered")
    problem(exporting.file(before), 409, "export-failed")


def test_a_client_and_two_dates_are_exported(exporting: Exporting) -> None:
    """The days are days of the time zone, whole, and the page has its local times; unknown zones are refused."""
    days = {"occurred_from": "2020-01-01", "occurred_to": "2199-12-31", "zone": "Europe/Zurich"}
    row = exporting.made(client=1, **days)
    assert (row["state"], row["occurred_from"], row["occurred_to"], row["zone"]) == (
        "completed",
        "2019-12-31T23:00:00Z",
        "2199-12-31T23:00:00Z",
        "Europe/Zurich",
    )
    data = exporting.file(row).content
    audit = exporting.audited(data)
    assert audit.ok, audit.findings
    assert audit.manifest is not None
    assert audit.manifest.selection.until_us > audit.manifest.selection.from_us
    assert audit.manifest.local_time.zone == "Europe/Zurich"
    assert b"client-2" not in data
    before = exporting.made(client=1, occurred_to="2020-01-01")
    assert (before["state"], before["failure_reason"]) == ("failed", "nothing-covered")
    problem(exporting.post(client=1, **{**days, "zone": "Atlantis/Main"}), 422, "invalid")
    problem(exporting.post(client=1, occurred_from="2020-02-30"), 422, "invalid")
    problem(exporting.post(client=1, occurred_from="2020-01-02", occurred_to="2020-01-01"), 422, "invalid")
    problem(exporting.post(request=1, occurred_from="2020-01-02"), 422, "invalid")


@pytest.mark.parametrize("asked", ["client-9", "client-9-old", "client-9-alias"])
def test_a_client_with_several_identifiers_is_exported_as_a_whole(exporting: Exporting, asked: str) -> None:
    """By the number of the client, of the one merged into it, or of an alias: all cases, complete, and on record."""
    api = exporting.api
    numbers = {row["client_id"]: row["id"] for row in api.items("/clients", prefix="client-9")}
    if not numbers:
        for client_id in ("client-9", "client-9-old"):
            api.asked(client_id=client_id)
        numbers = {row["client_id"]: row["id"] for row in api.items("/clients", prefix="client-9")}
        merge = f"/clients/{numbers['client-9-old']}/merges"
        assert api.call("POST", merge, "compliance", json={"into": numbers["client-9"]}).status_code == 201
        alias = api.call(
            "POST", f"/clients/{numbers['client-9']}/aliases", "compliance", json={"client_id": "client-9-alias"}
        )
        numbers["client-9-alias"] = alias.json()["client"]
    row = exporting.made(client=numbers[asked])
    audit = exporting.audited(exporting.file(row).content)
    assert audit.ok, audit.findings
    assert audit.complete
    assert audit.manifest is not None
    selection = audit.manifest.selection
    assert (selection.client, set(selection.names)) == (asked, {"client-9", "client-9-old", "client-9-alias"})
    requests = {one["id"] for one in api.items("/portfolio/requests", client_id=asked)}
    assert len(requests) == 2
    recorded = [set(one["requests"] or ()) for one in api.items("/access", action="export", subject="compliance")]
    assert requests in recorded


def test_what_a_search_finds_is_exported(exporting: Exporting) -> None:
    """The cases with an event that all filters hold for, whole, as of the request; nothing personal unless named."""
    api = exporting.api
    large = api.asked(client_id="client-3", amount_usd="700000.00")
    api.answered(large)
    row = exporting.made(search={"type": "portfolio.requested", "amount_from": "600000"}, disclose=["client_id"])
    assert (row["state"], row["search"]) == ("completed", {"type": "portfolio.requested", "amount_from": "600000.00"})
    data = exporting.file(row).content
    audit = exporting.audited(data)
    assert audit.ok, audit.findings
    streams = {json.loads(line["body"])["stream"] for line in Case.read(data).lines}
    assert f"request-{large}" in streams
    assert {stream for stream in streams if stream.startswith("request-")} == {f"request-{large}"}
    found = api.items("/events", request_id=large)
    shown = {line["position"] for line in Case.read(data).lines if f'"stream":"request-{large}"' in line["body"]}
    assert {event["position"] for event in found} == shown
    assert any("and no others" in line for line in audit.not_proven)
    assert row["fields"]["portfolio.requested.client_id"]["disclosed"] == 1
    assert all(counts["disclosed"] == 0 for name, counts in row["fields"].items() if not name.endswith(".client_id"))
    early = exporting.made(search={"actor": "advisor"}, occurred_to="2020-01-01T00:00:00Z")
    assert (early["state"], early["failure_reason"]) == ("failed", "nothing-covered")
    mine = exporting.made(search={"client": 1, "type": "portfolio.requested"}, disclose=["client_id"])
    words = exporting.made(text="BOATS likes", disclose=["client_id"])
    for row in (mine, words):
        data = exporting.file(row).content
        assert exporting.audited(data).ok
        assert b"client-1" in data
        assert b"client-2" not in data
    assert (mine["search"], words["text"]) == ({"client": 1, "type": "portfolio.requested"}, "BOATS likes")
    nobody = exporting.made(search={"client": 2}, text="boats")
    assert (nobody["state"], nobody["failure_reason"]) == ("failed", "nothing-covered")
    problem(exporting.post(search={"client": 99}), 404, "client-unknown")
    problem(exporting.post(text="..."), 422, "invalid")
    problem(exporting.post(search={}), 422, "invalid")
    problem(exporting.post(search={"type": "request.failed"}, client=1), 422, "invalid")
    problem(exporting.post(search={"kind": "x"}), 422, "invalid")


def test_a_search_that_finds_too_much_fails(exporting: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and nothing is written."""
    monkeypatch.setattr("projections.found_streams.MOST_STREAMS", 1)
    row = exporting.made(search={"type": "portfolio.requested"})
    assert (row["state"], row["failure_reason"]) == ("failed", "too-many-streams")


def test_who_may_export(exporting: Exporting) -> None:
    """Compliance asks, auditors read; others are refused, and so is who asks for what is not there."""
    for role in ("advisor", "auditor", "admin", "agent"):
        problem(exporting.post(role, request=1), 403, "wrong-role")
    row = exporting.made(request=1)
    for role in ("advisor", "admin", "agent"):
        problem(exporting.file(row, role), 403, "wrong-role")
    with exporting.api.records_nothing():
        problem(exporting.post(client=99), 404, "client-unknown")
        problem(exporting.post(request=99), 404, "request-unknown")
        problem(exporting.post(), 422, "invalid")
        problem(exporting.post(client=1, request=1), 422, "invalid")
        problem(exporting.post(position_from=3, position_to=2), 422, "invalid")
        problem(exporting.post(client=1, recorded_to="2200-01-01"), 422, "invalid")
        problem(exporting.post(request=1, disclose=["all", "notes"]), 422, "invalid")
        problem(exporting.post(request=1, disclose=["no-such-field"]), 422, "invalid")
        problem(exporting.post(request=1, purpose=" "), 422, "invalid")
    problem(exporting.api.get("/exports/999"), 404, "export-unknown")
    problem(exporting.api.get("/exports/999/file"), 404, "export-unknown")


def test_a_retry_asks_once(exporting: Exporting) -> None:
    """The same key gets the same export and job; another command under it is refused."""
    first, again = (exporting.post(key="once", request=1) for _ in range(2))
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert (again.json()["job"], again.headers["ledger-position"]) == (
        first.json()["job"],
        first.headers["ledger-position"],
    )
    problem(exporting.post(key="once", request=2), 409, "idempotency-key-reused")
    job = eventually("it ends", lambda: _done(exporting.api, first.json()["job"]))
    assert job["result"]["export"] == first.json()["export"]


def test_it_is_on_record_who_exports_and_who_fetches(exporting: Exporting) -> None:
    """Before anything is written, and before the file is sent; in the chain stands no purpose and no recipient."""
    row = exporting.made(client=1)
    exports = exporting.api.items("/access", action="export")
    assert exports[0]["resource"] == "POST /exports"
    assert (exports[0]["subject"], exports[0]["parameters"], exports[0]["requests"]) == ("compliance", ["client"], [1])
    assert exporting.file(row, "compliance").status_code == 200
    reads = exporting.api.items("/access", action="read", subject="compliance")
    assert "GET /exports/{export}/file" in {one["resource"] for one in reads}
    with connect(exporting.api.url) as conn:
        bodies = conn.execute("SELECT string_agg(body, '') FROM events WHERE stream LIKE 'export-%'").fetchall()[0][0]
    assert not any(text in bodies for text in (*WHY.values(), "client-1"))


def test_a_file_is_kept_for_a_time(exporting: Exporting) -> None:
    """Then it is a 410; the row stays. A file that somebody took away is a 410 as well."""
    gone, expired = exporting.made(request=1), exporting.made(request=1)
    [path] = exporting.folder.glob(f"export-{gone['id']}-*")
    path.unlink()
    problem(exporting.file(gone), 410, "export-gone")
    assert exporting.file(expired).status_code == 200
    with connect(exporting.api.url) as conn:
        conn.execute("UPDATE jobs SET expires_at = now() WHERE result LIKE %s", [f"%{expired['sha256']}%"])
    from api.services import services_of

    runner = services_of(exporting.api.app).job_runner
    assert runner is not None
    runner._expire_at_s = 0
    runner.wake()
    eventually("the file is deleted", lambda: not list(exporting.folder.glob(f"export-{expired['id']}-*")))
    problem(exporting.file(expired), 410, "export-gone")
    assert exporting.api.get(f"/exports/{expired['id']}").json()["state"] == "completed"


def test_an_erased_client_is_not_given_to_anybody(exporting: Exporting) -> None:
    """Purpose and recipient are erased with the client, its bundle is gone, and no other one is made."""
    api = exporting.api
    api.answered(api.asked(client_id="client-gone"))
    [client] = api.get("/clients", "compliance", client_id="client-gone").json()["items"]
    row = exporting.made(client=client["id"])
    assert exporting.file(row).status_code == 200
    api.tokens["second-compliance"] = make_tokens(api.url, "second-")["compliance"]
    asked = api.call("POST", f"/clients/{client['id']}/erasure", "compliance", json=ERASE)
    path = f"/erasures/{asked.json()['erasure']}/confirmations"
    assert api.call("POST", path, "second-compliance", json={}).status_code == 201
    # Nobody has to fetch it for that.
    eventually("its file is gone", lambda: not list(exporting.folder.glob(f"export-{row['id']}-*")))
    problem(exporting.file(row), 410, "export-gone")
    after = api.get(f"/exports/{row['id']}").json()
    assert (after["state"], after["purpose"], after["recipient"]) == ("completed", None, None)
    problem(exporting.post(client=client["id"]), 404, "client-unknown")


@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=() if step == "before it is recorded" else pytest.mark.slow) for step in EXPORT_STEPS],
)
def test_an_export_killed_at_any_step_is_finished(database_url: str, tmp_path: Path, step: str) -> None:
    """By SIGKILL: another process makes it, the event has the digest of the one file that is left, and it verifies."""
    number = asyncio.run(ask_export(database_url))
    key = key_for(database_url)
    sign(database_url, key, tmp_path / "last")
    files = tmp_path / "files"
    assert in_process(make_exports, database_url, step, files) == -signal.SIGKILL
    assert in_process(make_exports, database_url, "none", files) == 0
    with connect(database_url) as conn:
        query = "SELECT body::json->'data'->>'sha256' FROM events WHERE type = 'export.completed'"
        [(sha256,)] = conn.execute(query).fetchall()
    [path] = files.iterdir()
    assert path.name == f"export-{number}-{sha256[:16]}.zip"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert audit_bundle(io.BytesIO(path.read_bytes()), Trust((key.verifier,))).ok


def _done(api: Api, job: int) -> dict[str, Any] | None:
    found: dict[str, Any] = api.get(f"/jobs/{job}").json()
    return found if found["state"] == "done" else None
