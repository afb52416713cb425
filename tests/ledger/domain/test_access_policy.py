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
