"""A disposal over HTTP: a job does each step in the name of the caller, and who may not erase may not ask."""

from __future__ import annotations

from api.jobs.disposals import DISPOSE
from tests.api.acting import Acting, second_tokens
from tests.api.served import problem, served
from tests.support import eventually


def test_each_step_is_a_job(database_url: str) -> None:
    """The job ends with the counts that the event of the disposal has; the same key asks once."""
    with served(database_url, job_kinds=[DISPOSE]) as api:
        second_tokens(api)
        acting = Acting(api)
        api.asked(client_id="client-1")
        problem(acting.post("/disposals", "advisor", {"step": "propose"}), 403, "wrong-role")
        problem(acting.post("/disposals", "compliance", {"step": "other"}), 422, "invalid")
        for number, (step, who) in enumerate((("propose", "compliance"), ("erase", "compliance2")), 1):
            asked = acting.post("/disposals", who, {"step": step}, f"key-{step}")
            assert (asked.status_code, asked.json()["disposal"]) == (202, number)
            assert acting.post("/disposals", who, {"step": step}, f"key-{step}").json() == asked.json()
            path = f"/jobs/{asked.json()['job']}"
            done = eventually("it ends", lambda path=path: api.get(path, "admin").json().get("result"))
            assert (done["disposal"], done["done"], done["values"], done["forbidden"]) == (number, 0, 0, 0)
            assert done["looked_at"] == (1 if step == "propose" else 0)
