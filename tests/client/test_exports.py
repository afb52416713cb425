"""The client's operations about exports and the stories of clients."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from advice_ledger_client import AsyncLedgerClient, LedgerClient, LedgerProblem

from api.jobs.kind import JobFiles
from api.jobs.kinds import KINDS
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.tlog.trust import Trust
from ledger.tlog.sign.signer_thread import SigningConfig
from tests.api.served import served
from tests.ledger.tlog.logs import key_for


def test_an_export_is_made_and_downloaded(database_url: str, tmp_path: Path) -> None:
    """From the letter to the file, by both clients; a file that is there is not written over, and none is left half."""
    key = key_for(database_url)
    signing = SigningConfig(key, tmp_path / "log.key.last", every_s=0.05)
    with served(database_url, job_kinds=KINDS, job_files=JobFiles(tmp_path / "files"), signing=signing) as api:
        request = api.asked()
        api.answered(request)
        token = api.tokens["compliance"]
        with LedgerClient(api.base, token) as reviewer:
            case = reviewer.case(request)
            assert case["request_id"] == request
            assert reviewer.timeline(case["client"])["cases"][0]["request_id"] == request
            assert reviewer.knowledge(request)["request"]["id"] == request
            assert reviewer.case_diff(request, since=case["as_of"])["changes"] == []
            asked = reviewer.request_export(client=case["client"], purpose="letter", recipient="examiner")
            row = reviewer.wait_for_export(asked["export"])
            assert row["state"] == "completed"
            assert [one["id"] for one in reviewer.exports(state="completed")] == [asked["export"]]
            path = tmp_path / "case.zip"
            reviewer.download_export(asked["export"], path)
            data = path.read_bytes()
            assert len(data) == row["bytes"]
            assert audit_bundle(io.BytesIO(data), Trust((key.verifier,))).ok
            with pytest.raises(FileExistsError):
                reviewer.download_export(asked["export"], path)
            with pytest.raises(LedgerProblem, match="export-unknown"):
                reviewer.download_export(99, tmp_path / "other.zip")
            assert not (tmp_path / "other.zip").exists()

        async def again() -> None:
            async with AsyncLedgerClient(api.base, token) as other:
                await other.download_export(asked["export"], tmp_path / "again.zip")

        asyncio.run(again())
        assert (tmp_path / "again.zip").read_bytes() == data
