"""Any sequence of changes of subjects and of acts, concurrent ones included, leaves no act without the right to it.

The model is a plain account of each subject. A server answers within a second as the model says; what it accepts, the
model allows at that moment. At the end the chain is read once more from its first event: each act is by a subject that
had the role and the credential at that position. The rebuilt read models let in the same tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from projections.credentials.model import CREDENTIALS
from projections.rebuild import rebuild_read_models
from projections.subjects.model import SUBJECTS
from tests.api.served import ASK, ASKS, Api, ledger_copy, served
from tests.conftest import Template
from tests.support import connect, eventually

NAMES = ("ann", "ben", "cat")
ROLES = ("advisor", "compliance", "admin")
EVENTS = """
    SELECT stream, type, body::json->'actor', body::json->'data' FROM events
    WHERE stream LIKE %s OR type = 'portfolio.requested' ORDER BY position
"""
_examples = itertools.count()


@dataclass
class Account:
    """A subject: its roles, its suspension, and the numbers of the credentials that are good."""

    roles: set[str] = field(default_factory=set)
    suspended: bool = False
    good: set[int] = field(default_factory=set)
    issued: int = 0

    def may(self, role: str, credential: int) -> bool:
        """Whether it may act."""
        return role in self.roles and not self.suspended and credential in self.good

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Take over an event of the subject's stream."""
        match kind:
            case "subject.role-granted":
                self.roles.add(data["role"])
            case "subject.role-revoked":
                self.roles.discard(data["role"])
            case "subject.suspended" | "subject.resumed":
                self.suspended = kind == "subject.suspended"
            case "credential.issued":
                self.issued = data["credential"]
                self.good.add(self.issued)
                self.good.discard(data.get("replaces"))
            case "credential.revoked":
                self.good.discard(data["credential"])


class Office(RuleBasedStateMachine):
    """Changes by an administrator and acts of three subjects, over HTTP."""

    api: Api
    # All tokens of all examples.
    issued: list[str]

    @initialize()
    def register(self) -> None:
        """Begin with three subjects of this example, with a token each."""
        self.prefix = f"model{next(_examples)}-"
        self.accounts = {name: Account() for name in NAMES}
        self.tokens: dict[tuple[str, int], str] = {}
        for name in NAMES:
            assert self.change(name, "registrations", kind="human") == 201
            self.issue(name)

    def change(self, name: str, what: str, **body: Any) -> int:
        """Send a change as the administrator; return its status."""
        return self.api.call("POST", f"/subjects/{self.prefix}{name}/{what}", "admin", json=body).status_code

    def act(self, name: str, credential: int, role: str) -> int:
        """Ask for a recommendation; return the status."""
        headers = {"Authorization": f"Bearer {self.tokens[name, credential]}", "Ledger-Role": role}
        return self.api.call("POST", ASKS, None, json={**ASK, "client_id": self.prefix}, headers=headers).status_code

    def issue(self, name: str, **how: Any) -> None:
        """Issue a token, perhaps in the place of another one."""
        path = f"/subjects/{self.prefix}{name}/credentials"
        response = self.api.call("POST", path, "admin", json=how)
        account = self.accounts[name]
        if "replaces" in how and how["replaces"] not in account.good:
            assert response.status_code == 409
            return
        assert response.status_code == 201, response.text
        number = response.json()["credential"]
        assert number == account.issued + 1
        self.tokens[name, number] = response.json()["token"]
        self.issued.append(self.tokens[name, number])
        account.take("credential.issued", {"credential": number, **how})

    @rule(name=st.sampled_from(NAMES), old=st.none() | st.integers(1, 3))
    def issue_or_rotate(self, name: str, old: int | None) -> None:
        """One more token, or one in the place of another."""
        if old is None or old <= self.accounts[name].issued:
            self.issue(name, **({} if old is None else {"replaces": old}))

    @rule(name=st.sampled_from(NAMES), role=st.sampled_from(ROLES), grant=st.booleans())
    def change_role(self, name: str, role: str, grant: bool) -> None:
        """Grant or revoke a role; one that is not held cannot be revoked."""
        account = self.accounts[name]
        expected = 201 if grant or role in account.roles else 409
        assert self.change(name, "roles" if grant else "role-revocations", role=role) == expected
        account.take("subject.role-granted" if grant else "subject.role-revoked", {"role": role})

    @rule(name=st.sampled_from(NAMES), suspend=st.booleans())
    def suspend_or_resume(self, name: str, suspend: bool) -> None:
        """Suspend or resume; what is so already is refused."""
        account = self.accounts[name]
        expected = 201 if suspend != account.suspended else 409
        assert self.change(name, "suspensions" if suspend else "resumptions", reason="r") == expected
        account.take("subject.suspended" if suspend else "subject.resumed", {})

    @rule(name=st.sampled_from(NAMES), number=st.integers(1, 3))
    def revoke(self, name: str, number: int) -> None:
        """Revoke a credential; one that has ended cannot be revoked."""
        account = self.accounts[name]
        expected = 201 if number in account.good else 404 if number > account.issued else 409
        assert self.change(name, "revocations", credential=number) == expected
        account.take("credential.revoked", {"credential": number})

    @rule(data=st.data(), role=st.sampled_from(ROLES[:2]))
    def act_alone(self, data: st.DataObject, role: str) -> None:
        """An act is accepted if the subject may act, within a second after the right was given; else never."""
        name, credential = data.draw(st.sampled_from(sorted(self.tokens)))
        may = role == "advisor" and self.accounts[name].may(role, credential)
        if may:
            eventually("the act is taken", lambda: self.act(name, credential, role) == 202)
        else:
            assert self.act(name, credential, role) in {401, 403}

    @precondition(
        lambda self: any(account.may("advisor", n) for account in self.accounts.values() for n in account.good)
    )
    @rule(data=st.data(), what=st.sampled_from(["suspensions", "role-revocations", "revocations"]))
    def act_beside_a_change(self, data: st.DataObject, what: str) -> None:
        """Acts while the right to them is taken: each is before the change or refused; the chain is read at the end."""
        able = [key for key in sorted(self.tokens) if self.accounts[key[0]].may("advisor", key[1])]
        name, credential = data.draw(st.sampled_from(able))
        changes: dict[str, tuple[dict[str, Any], str]] = {
            "suspensions": ({"reason": "r"}, "subject.suspended"),
            "role-revocations": ({"role": "advisor"}, "subject.role-revoked"),
            "revocations": ({"credential": credential}, "credential.revoked"),
        }
        body, kind = changes[what]
        with ThreadPoolExecutor(4) as pool:
            acts = [pool.submit(self.act, name, credential, "advisor") for _ in range(3)]
            assert self.change(name, what, **body) == 201
            assert {one.result() for one in acts} <= {202, 401, 403}
        self.accounts[name].take(kind, body)
        assert self.act(name, credential, "advisor") in {401, 403}

    def teardown(self) -> None:
        """Read the chain again, and rebuild the read models of callers."""
        if not hasattr(self, "accounts"):
            return
        read = {name: Account() for name in NAMES}
        with connect(self.api.url) as conn:
            events = conn.execute(EVENTS, [f"subject-{self.prefix}%"]).fetchall()
        for stream, kind, actor, data in events:
            name = stream.removeprefix(f"subject-{self.prefix}")
            if name in read:
                read[name].take(kind, data)
            elif (name := str(actor["id"]).removeprefix(self.prefix)) in read and actor["id"] != name:
                assert read[name].may(actor["role"], actor["credential"]), (actor, read[name])
        assert read == self.accounts


@pytest.fixture(scope="module")
def api(server_url: str, template_database: Template) -> Iterator[Api]:
    """The application on a ledger that all examples share."""
    with ledger_copy(server_url, template_database) as url, served(url) as found:
        yield found


def run(api: Api, examples: int, steps: int) -> None:
    """Run `examples` examples of at most `steps` steps; then rebuild the read models of callers, and compare."""
    profile = settings(
        max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None
    )
    issued: list[str] = []
    run_state_machine_as_test(type("OfficeAt", (Office,), {"api": api, "issued": issued}), settings=profile)
    assert issued
    reports = rebuild_read_models(api.url, [CREDENTIALS, SUBJECTS])
    assert [report.differing for report in reports] == [0, 0]
    with served(api.url, tokens=api.tokens) as again:
        rebuilt = answers(again, issued)
    # A right that the last change gave is seen within a second, not at once.
    eventually("the first server answers as one that starts now", lambda: answers(api, issued) == rebuilt)


def answers(api: Api, tokens: list[str]) -> list[tuple[int, str | None]]:
    """What each token is answered with when it asks who it is."""
    found = [api.call("GET", "/me", None, headers={"Authorization": f"Bearer {token}"}) for token in tokens]
    return [(each.status_code, each.json().get("subject")) for each in found]


def test_no_act_is_without_the_right_to_it(api: Api) -> None:
    """For any sequence of changes and acts, in some examples; read models that are rebuilt let in the same tokens."""
    run(api, 5, 15)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_act_is_without_the_right_to_it_for_longer(api: Api) -> None:
    """The same, with many more and longer examples."""
    run(api, 60, 40)
