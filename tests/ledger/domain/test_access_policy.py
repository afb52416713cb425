"""The access policy: the packaged one, those of one's own, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.access_policy import OF_CLIENTS, PERMISSIONS, READS_OF_CLIENTS, AccessPolicy
from ledger.domain.policy import HOME, BadPolicy

PACKAGED: dict[str, Any] = json.loads((HOME / "access.json").read_text("utf-8"))
Change = Callable[[dict[str, Any]], object]


def policy(folder: Path, change: Change) -> AccessPolicy:
    """Load the packaged policy with a change."""
    text = copy.deepcopy(PACKAGED)
    change(text)
    path = folder / "access.json"
    path.write_text(json.dumps(text))
    return AccessPolicy.load(path)


def test_the_packaged_policy_gives_least_privilege() -> None:
    """An agent reads contexts and its own calls; an administrator reads no client's data; compliance reads all."""
    packaged = AccessPolicy.load()
    assert {name for name in PERMISSIONS if packaged.scope(name, "agent")} == {
        "answer requests",
        "register signing keys",
        "read own rights",
        "read contexts",
        "read model calls",
        "read proofs",
    }
    assert packaged.scope("read model calls", "agent") == "own"
    assert [packaged.scope(name, "admin") for name in READS_OF_CLIENTS] == [None] * len(READS_OF_CLIENTS)
    assert [packaged.scope(name, "compliance") for name in READS_OF_CLIENTS] == ["all"] * len(READS_OF_CLIENTS)
    assert packaged.roles("decide") == {"advisor"}


def test_a_policy_of_ones_own_takes_and_narrows(tmp_path: Path) -> None:
    """A role may lose a permission or keep its own rows alone; what the policy records is the whole text."""

    def change(text: dict[str, Any]) -> None:
        text["version"] = "ours-1"
        del text["permissions"]["read cases"]["examiner"]
        text["permissions"]["read model calls"]["compliance"] = "own"

    own = policy(tmp_path, change)
    assert own.scope("read cases", "examiner") is None
    assert own.scope("read model calls", "compliance") == "own"
    adopted = own.policy.adoption([])
    assert adopted is not None
    assert '"read model calls": {"advisor": "all", "compliance": "own"' in json.dumps(adopted.policy)


def test_the_other_packaged_policy_limits_advisors_and_nobody_else() -> None:
    """Each permission about clients that an advisor has is for assigned ones; the other roles are as in the default."""
    packaged, assigned = AccessPolicy.load(), AccessPolicy.load(HOME / "access-assigned.json")
    for name in PERMISSIONS:
        others = {role: reach for role, reach in packaged.permissions[name].items() if role != "advisor"}
        assert {role: reach for role, reach in assigned.permissions[name].items() if role != "advisor"} == others
        if name in OF_CLIENTS and packaged.scope(name, "advisor"):
            assert assigned.scope(name, "advisor") == "assigned"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text["permissions"].pop("decide"), "the permission 'decide' is missing"),
        (lambda text: text["permissions"].update({"fly": {}}), "there is no permission 'fly'"),
        (lambda text: text["permissions"]["decide"].update(advisor="own"), "'decide' cannot be \"own\""),
        (lambda text: text["permissions"]["read reports"].update(advisor="assigned"), "'read reports' cannot be"),
        (lambda text: text["permissions"]["decide"].update(advisor="some"), "permissions.decide.advisor"),
        (lambda text: text["permissions"].update({"manage subjects": {}}), "'manage subjects' must have a role"),
        (lambda text: text.update(administrators={"changes": "three"}), "administrators.changes"),
        (lambda text: text.update(name="acces"), 'name: must be "access"'),
        (lambda text: text.update(colour="red"), "colour"),
    ],
)
def test_a_policy_that_is_none_is_refused_with_the_place(tmp_path: Path, change: Change, reason: str) -> None:
    """BadPolicy names the file and what is wrong in it."""
    with pytest.raises(BadPolicy, match=r"access\.json") as refused:
        policy(tmp_path, change)
    assert reason in str(refused.value)


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    """A file of an earlier version is mended in one go: missing permissions, unknown ones, wrong reaches."""

    def change(text: dict[str, Any]) -> None:
        permissions = text["permissions"]
        del permissions["decide"], permissions["export"]
        permissions.update(
            {"fly": {}, "dive": {}, "read reports": {"advisor": "assigned"}, "merge clients": {"a": "own"}}
        )

    with pytest.raises(BadPolicy) as refused:
        policy(tmp_path, change)
    said = str(refused.value)
    assert "the permissions 'decide', 'export' are missing" in said
    assert "there is no permission 'dive', 'fly'" in said
    assert "'read reports' cannot be \"assigned\"" in said
    assert "'merge clients' cannot be \"own\"" in said


def test_members_of_the_wrong_kind_are_named_at_once(tmp_path: Path) -> None:
    """Each with its place; of very many the first ones, and how many more."""
    with pytest.raises(BadPolicy) as refused:
        policy(tmp_path, lambda text: text.update(version=7, administrators={"changes": "three"}))
    assert all(place in str(refused.value) for place in ("version: ", "administrators.changes: "))
    many = {f"role-{number}": "some" for number in range(50)}
    with pytest.raises(BadPolicy, match=r"permissions\.decide\.role-0: .*; and 30 more$"):
        policy(tmp_path, lambda text: text["permissions"].update(decide=many))
