"""Lists as of an earlier state, many at once: bounded, and no hindrance for other requests."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from api.slow_reads import MOST_OF_ALL, MOST_OF_ONE
from tests.api.served import Api, make_tokens, problem
from tests.subjects import subject
from tests.support import connect, eventually

AT_ONCE = 40
LIST = "/portfolio/requests"
# Shows no sealed value.
OTHER = "/monitoring/runs"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'advice-ledger slow reader'"
    " AND wait_event_type = 'Lock' AND datname = current_database()"
)


def test_forty_lists_at_once(api: Api) -> None:
    """Two lists of a caller run and the others are refused; a new caller's read and write are served meanwhile."""
    request_id = api.asked()
    assert api.get(f"{LIST}/{request_id}").status_code == 200
    new = make_tokens(api.url, "new-")
    api.tokens["third"] = subject(api.url, "third", "compliance")
    assert api.get("/agents", "third").status_code == 200
    for role in (
        "compliance",
        "admin",
    ):  # a token that nobody has used yet is looked up in a read model, which waits too
        token = {"Authorization": f"Bearer {new[role]}"}
        assert api.client.get(f"{api.base}/agents", headers=token).status_code == 200
    with ThreadPoolExecutor(AT_ONCE) as pool, connect(api.url) as locking, connect(api.url) as looking:
        with locking.transaction():
            # The lists need this table. The other list and the registration below do not.
            locking.execute("LOCK TABLE sealed_fields IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(api.get, LIST, "compliance", as_of=request_id) for _ in range(AT_ONCE)]
            eventually("most are refused", lambda: sum(one.done() for one in asked) == AT_ONCE - MOST_OF_ONE)
            others = [pool.submit(api.get, LIST, role, as_of=request_id) for role in ("advisor", "advisor", "third")]
            eventually("one more is refused", lambda: sum(one.done() for one in others) == 1)
            eventually("the others wait", lambda: looking.execute(WAITING).fetchone() == (MOST_OF_ALL,))
            with httpx.Client(base_url=api.base, timeout=1) as other:
                bearer = {role: {"Authorization": f"Bearer {token}"} for role, token in new.items()}
                assert other.get(OTHER, headers=bearer["compliance"]).status_code == 200
                body = {"answer_schema": "any/v1"}
                path = "/agents/new-agent/registrations"
                assert other.post(path, json=body, headers=bearer["admin"]).status_code == 201
        answers = [one.result() for one in asked]
        assert Counter(answer.status_code for answer in answers) == {200: MOST_OF_ONE, 429: AT_ONCE - MOST_OF_ONE}
        refused = next(answer for answer in answers if answer.status_code == 429)
        problem(refused, 429, "too-many-reads")
        assert refused.headers["Retry-After"] == "1"
        assert sorted(one.result().status_code for one in others) == [200, 200, 503]
    assert api.get(LIST, "compliance", as_of=request_id).status_code == 200


def test_lists_of_one_client_are_not_bounded(api: Api) -> None:
    """The streams of one client are few, so its lists share the connections of other reads."""
    request_id = api.asked(client_id="bounded")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        how = {"as_of": request_id, "client_id": "bounded"}
        answers = list(pool.map(lambda _: api.get(LIST, "compliance", **how), range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {200}
