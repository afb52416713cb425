"""The demo's result as text: what was done, then each question, how it is asked, and what the ledger says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from api.cli.shared import say_table
from api.demo.questions import Answers, Rows, rates, reasons
from api.demo.run import Done, Result

Say = Callable[[str], None]

MOST = 6

HONESTLY = """\
Real: the prices (twenty stocks of the S&P 500, from skfolio), the two models, the server, the calls, the chain.
Invented: the clients, and the rules by which people decide.
The quarters stand in the requests. The ledger's own clock is today's: years of reviews were recorded just now."""


def tell(result: Result, say: Say) -> None:
    """All of it."""
    _done(result.done, say)
    _advisor(result.answers, say)
    _compliance(result.answers, say)
    _auditor(result.answers, say)


def _done(done: Done, say: Say) -> None:
    decisions = done.decisions
    falls = ", ".join(f"{name} {fall:.0%}" for name, fall in done.falls.items()) or "none"
    say(f"{done.clients} clients, {done.quarters} quarters, {done.first} to {done.last}\n")
    say(HONESTLY + "\n")
    say(f"requests         {done.requests}, of which {done.failed} failed")
    say(f"model calls      {done.calls_completed} completed, {done.calls_failed} failed{_refused(done.refused)}")
    say(f"recommendations  {done.recommendations}")
    say(
        f"decisions        {decisions['approve']} approved, {decisions['edit']} edited, {decisions['reject']} "
        f"rejected, {decisions['respond']} sent back with a remark"
    )
    waiting = done.needs_second - done.confirmed - done.declined
    say(
        f"second person    needed {done.needs_second} times: {done.confirmed} approved, {done.declined} declined, "
        f"{waiting} waiting"
    )
    say(f"communicated     {done.communicated}")
    say(f"corrections      {falls}")
    rate = done.events / max(done.seconds, 0.1)
    say(f"events           {done.events} in {done.seconds:g} s: {rate:.0f} a second, each acknowledged to its caller")


def _refused(refused: Mapping[str, int]) -> str:
    told = ", ".join(f"{reason} {times}" for reason, times in sorted(refused.items()))
    return f" ({told})" if told else ""


def _advisor(answers: Answers, say: Say) -> None:
    _question(say, "The advisor: what waits for a second person?", "GET /recommendations?state=waiting")
    _table(answers.waiting, say)
    _question(say, "The advisor: what is not decided yet?", "GET /recommendations?state=proposed")
    _table(answers.proposed, say)
    number, position = answers.request_id, answers.decided_at
    _question(
        say,
        f"The advisor: what was known of {answers.client} in {answers.quarter} when it was first decided?",
        f"GET /recommendations?request_id={number}&as_of={position}",
    )
    _table(answers.then, say)
    _question(say, "And what has become of it?", f"GET /recommendations?request_id={number}")
    _table(answers.now, say)
    say(f"{answers.client} was told of {answers.told} recommendations in all.")


def _compliance(answers: Answers, say: Say) -> None:
    _question(say, "Compliance: which versions of the models are overridden most?", "GET /reports/override-rates")
    found = rates(answers.override_rates)
    shown = [{**row, "rate": f"{row['overrides'] / row['decisions']:.0%}"} for row in found]
    _table(shown, say)
    _question(say, "Compliance: why?", "GET /reports/override-reasons")
    _table(reasons(answers.override_reasons), say, most=2 * MOST)
    _question(say, "Compliance: does somebody approve without looking?", "GET /reports/rubber-stamps")
    _table(answers.rubber_stamps, say)
    say("The demo's people are programs: everybody decides within seconds, and advisor-south skips some openings.")


def _auditor(answers: Answers, say: Say) -> None:
    _question(say, "The auditor: is there a call whose end nobody recorded?", "GET /model-calls?state=open")
    say(f"{answers.orphans or 'none'}")
    replay = answers.replay
    if replay:
        number, one = replay["request_id"], replay["recommendation_id"]
        asked = f"advice-ledger replay --request {number} --recommendation {one}"
        _question(say, "The auditor: would the optimiser say the same again?", asked)
        say(f"{replay['outcome']}, by {replay['agent']} {replay['agent_version']}" + _reason(replay))
    _question(say, "The auditor: is all of it as it was recorded?", "advice-ledger verify --projections")
    found = answers.verification
    differing = sum(len(one["differences"]) for one in found["read_models"])
    say(f"{'verified' if found['ok'] else 'FAILED'}: {found['events']} events, last hash {found['head_hash']}")
    say(f"{len(found['read_models'])} read models folded again: {differing or 'no'} rows differ")
    _evidence(answers, say)


def _evidence(answers: Answers, say: Say) -> None:
    found, client = answers.evidence, answers.client
    _question(say, "The auditor: what has this ledger signed?", "GET /checkpoint")
    say(found.checkpoint.rstrip("\n"))
    _question(
        say,
        f"The auditor: is the case of {client} complete and unaltered, without trusting this server?",
        f"advice-ledger export --client {client} -o case.zip\n  advice-ledger-verify case.zip --key {found.key}",
    )
    say(f"{found.audit['events']} events of {found.case['checkpoint_size']}, {found.audit['proven']} proven")
    say(found.audit["verdict"])


def _reason(replay: Mapping[str, Any]) -> str:
    return f": {replay['reason']}: {replay['detail']}" if replay.get("reason") else ""


def _question(say: Say, question: str, how: str) -> None:
    say(f"\n{question}\n  {how}\n")


def _table(rows: Rows, say: Say, most: int = MOST) -> None:
    """The first rows; a column in which nothing stands is left out."""
    if not rows:
        say("none")
        return
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    say_table(names, [["" if row[name] is None else row[name] for name in names] for row in rows[:most]])
    if len(rows) > most:
        say(f"and {len(rows) - most} more")
