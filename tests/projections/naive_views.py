"""The views on decisions computed a second time, in plain Python, from the rows of the read model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

Row = dict[str, Any]


def share(part: int, whole: int) -> Decimal:
    """Round to four digits, halves up."""
    return (Decimal(part) / whole).quantize(Decimal("0.0001"), "ROUND_HALF_UP")


def grouped(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Group the rows by the values of these columns, with `month` computed from `created_at`."""
    found = defaultdict(list)
    for row in rows:
        whole = {**row, "month": row["created_at"].date().replace(day=1)}
        found[tuple(whole[name] for name in names)].append(row)
    return found


def of(rows: list[Row], *outcomes: str) -> int:
    """Count the rows with one of these outcomes."""
    return sum(row["outcome"] in outcomes for row in rows)


def standing(rows: list[Row]) -> list[Row]:
    """Return the decisions that are in force or wait."""
    return [row for row in rows if row["state"] in {"effective", "waiting"}]


def override_rates(rows: list[Row]) -> list[Row]:
    """Compute how often people edited or rejected recommendations."""
    names = ("model_name", "model_version", "decided_by", "month")
    found = []
    for key, mine in grouped(standing(rows), *names).items():
        telling = [row for row in mine if row["reason_group"] != "no-longer-needed"]
        overrides = of(telling, "edit", "reject")
        found.append(
            dict(zip(names, key, strict=True))
            | {"decisions": len(mine), "approved": of(mine, "approve"), "edited": of(mine, "edit")}
            | {"rejected": of(mine, "reject"), "responded": of(mine, "respond"), "overrides": overrides}
            | {"override_rate": share(overrides, len(telling)) if telling else None}
            | {"not_about_model": len(mine) - len(telling)}
        )
    return found


def override_reasons(rows: list[Row]) -> list[Row]:
    """Compute the reasons for that."""
    names = ("model_name", "model_version", "decided_by", "month", "reason_code", "reason_group")
    overrides = [row for row in standing(rows) if row["outcome"] in {"edit", "reject"}]
    return [
        dict(zip(names, key, strict=True))
        | {"overrides": len(mine), "edited": of(mine, "edit"), "rejected": of(mine, "reject")}
        for key, mine in grouped(overrides, *names).items()
    ]


def decision_times(rows: list[Row]) -> list[Row]:
    """Compute how long decisions took: the time at half, or nine tenths, of the way, rounded up."""
    names = ("model_name", "model_version", "decided_by", "month")
    found = []
    for key, mine in grouped(standing(rows), *names).items():
        times = sorted(row["seconds_to_decide"] for row in mine)
        median, p90 = (times[-(-len(times) * tenths // 10) - 1] for tenths in (5, 9))
        numbers = {"decisions": len(times), "median_s": median, "p90_s": p90, "min_s": times[0]}
        found.append(dict(zip(names, key, strict=True)) | numbers)
    return found


def rubber_stamps(rows: list[Row]) -> list[Row]:
    """Compute quick approvals, unopened approvals and streaks, for deciders and for confirmers."""
    turns = defaultdict(list)
    for row in standing(rows):
        turn = (row["created_at"], row["id"], row["outcome"], row["seconds_to_decide"], row["opened_at"])
        turns[row["decided_by"], "first"].append(turn)
    for row in rows:
        if row.get("confirmation") is not None:
            said, took, opened_at = row["confirmation"], row["seconds_to_confirm"], row["second_opened_at"]
            turns[row["confirmed_by"], "second"].append((row["confirmed_at"], row["id"], said, took, opened_at))
    return [_stamps(person, part, sorted(mine)) for (person, part), mine in turns.items()]


def _stamps(person: str, part: str, turns: list[tuple[Any, ...]]) -> Row:
    approvals = [(took, opened_at) for _, _, said, took, opened_at in turns if said == "approve"]
    quick = sum(took <= 10 for took, _ in approvals)
    runs = [(same, len(list(run))) for same, run in groupby(said == "approve" for _, _, said, _, _ in turns)]
    return {
        "person": person,
        "part": part,
        "decisions": len(turns),
        "approvals": len(approvals),
        "quick_approvals": quick,
        "quick_share": share(quick, len(approvals)) if approvals else None,
        "unopened_approvals": sum(opened_at is None for _, opened_at in approvals),
        "longest_streak": max((length for same, length in runs if same), default=0),
        "current_streak": runs[-1][1] if runs[-1][0] else 0,
    }


def _coverage(mine: list[Row]) -> Row:
    reviewed = [row for row in mine if row.get("review_id") is not None]
    sampled = [row for row in mine if row["samples"]]
    return {
        "decisions": len(mine),
        "reviewed": len(reviewed),
        "concerns": sum(row["disposition"] == "concern" for row in reviewed),
        "reviewed_share": share(len(reviewed), len(mine)),
        "sampled": len(sampled),
        "sampled_reviewed": sum(row.get("review_id") is not None for row in sampled),
        "with_findings": sum(row["findings"] > 0 for row in mine),
        "with_open_findings": sum(row["open_findings"] > 0 for row in mine),
    }


def review_coverage(rows: list[Row]) -> list[Row]:
    """Compute how many decisions were reviewed, sampled and found fault with."""
    return [
        dict(zip(("decided_by", "month"), key, strict=True)) | _coverage(mine)
        for key, mine in grouped(rows, "decided_by", "month").items()
    ]


def coverage(rows: list[Row]) -> list[Row]:
    """Compute the same by each key."""
    keys = {"agent": "agent", "person": "decided_by", "reviewer": "reviewed_by", "disposition": "disposition"}
    whole = [{"reviewed_by": None, "disposition": None, **row} for row in rows]
    return [
        {"by": by, "name": name, "month": month} | _coverage(mine)
        for by, column in keys.items()
        for (name, month), mine in grouped(whole, column, "month").items()
    ]


NAIVE: dict[str, Callable[[list[Row]], list[Row]]] = {
    "override_rates": override_rates,
    "override_reasons": override_reasons,
    "decision_times": decision_times,
    "rubber_stamps": rubber_stamps,
    "review_coverage": review_coverage,
    "coverage": coverage,
}
