"""Print the demo's result: its counts, then each question with its command and the ledger's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from api.cli.shared import say_table
from api.demo.questions import Answers, Rows, rates, reasons
from api.demo.run import Done, Result
from ledger.wording import counted

Say = Callable[[str], None]

MAX_ROWS = 6
# The most characters of a bar.
MAX_BAR = 40

WHAT_IS_REAL = """\
Real: the prices (twenty stocks of the S&P 500, from skfolio), the two models, the server, the calls, the chain.
Invented: the clients, and the rules for their people's decisions.
The reviews ran through the API of a first ledger. This one imported them, with the dates of their quarters; its own
times, and those of the coming quarter and of monitoring, are those of this run."""


def print_report(result: Result, say: Say) -> None:
    """Print the whole result."""
    _done(result.done, say)
    _watched(result, say)
    _advisor(result.answers, say)
    _compliance(result.answers, say)
    _watch(result.answers, say)
    _auditor(result.answers, say)


def _done(done: Done, say: Say) -> None:
    decisions = done.decisions
    falls = ", ".join(f"{name} {fall:.0%}" for name, fall in done.falls.items()) or "none"
    say(f"{counted(done.clients, 'client')}, {counted(done.quarters, 'quarter')}, {done.first} to {done.last}\n")
    say(WHAT_IS_REAL + "\n")
    say(f"requests         {done.requests}, of which {done.failed} failed")
    say(f"model calls      {done.calls_completed} completed, {done.calls_failed} failed{_refused(done.refused)}")
    say(f"recommendations  {done.recommendations}")
    say(
        f"decisions        {decisions['approve']} approved, {decisions['edit']} edited, {decisions['reject']} "
        f"rejected, {decisions['respond']} sent back with a remark"
    )
    waiting = done.needs_second - done.confirmed - done.declined
    say(
        f"confirmations    needed {done.needs_second} times: {done.confirmed} approved, {done.declined} declined, "
        f"{waiting} waiting"
    )
    say(f"communicated     {done.communicated}")
    say(f"corrections      {falls}")
    rate = done.events / max(done.seconds, 0.1)
    say(f"events           {done.events} in {done.seconds:g} s: {rate:.0f} a second, each acknowledged to its caller")


def _watched(result: Result, say: Say) -> None:
    """Print the results of monitoring, with a bar for each quarter whose length is its number of alerts."""
    watched = result.watched
    say(
        f"\nportfolios       {watched.portfolios}, judged {watched.runs} times in {watched.seconds:g} s,"
        " at the prices of each week"
    )
    raised = sum(watched.raised.values())
    say(f"alerts           {raised} raised, {watched.acknowledged} taken by an advisor, {watched.closed} closed")
    say(f"decisions        {watched.decisions} whom to tell; nothing is delivered for a time that is long over")
    say(f"rebalanced       {counted(watched.rebalanced, 'time')}\n")
    scale = max(1, *(-(-count // MAX_BAR) for count in watched.raised.values()))
    for name, count in watched.raised.items():
        fall = result.done.falls.get(name)
        stocks = "" if fall is None else f"  stocks fell by {fall:.0%}"
        say(f"{name} {count:4} {'#' * -(-count // scale):{MAX_BAR}}{stocks}".rstrip())


def _refused(refused: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {times}" for reason, times in sorted(refused.items()))
    return f" ({reasons})" if reasons else ""


def _advisor(answers: Answers, say: Say) -> None:
    _question(say, "Advisor: which decisions wait for a confirmation?", "GET /recommendations?state=waiting")
    _table(answers.waiting, say)
    _question(say, "Advisor: which recommendations are not decided yet?", "GET /recommendations?state=proposed")
    _table(answers.proposed, say)
    number, position = answers.request_id, answers.decided_at
    _question(
        say,
        f"Advisor: what was on record for {answers.client} in {answers.quarter} at the first decision?",
        f"GET /recommendations?request_id={number}&as_of={position}",
    )
    _table(answers.then, say)
    _question(say, "Advisor: and what is on record now?", f"GET /recommendations?request_id={number}")
    _table(answers.now, say)
    say(f"{answers.client} was told of {answers.communicated} recommendations in total.")


def _compliance(answers: Answers, say: Say) -> None:
    _question(say, "Compliance: which model versions are overridden most?", "GET /reports/override-rates")
    rows = [{**row, "rate": f"{row['overrides'] / row['decisions']:.0%}"} for row in rates(answers.override_rates)]
    _table(rows, say)
    _question(say, "Compliance: why?", "GET /reports/override-reasons")
    _table(reasons(answers.override_reasons), say, most=2 * MAX_ROWS)
    _question(say, "Compliance: does anyone approve without reading?", "GET /reports/rubber-stamps")
    _table(answers.rubber_stamps, say)
    say("The demo's people are programs: advisor-south skips some openings, and then decides within seconds.")


def _watch(answers: Answers, say: Say) -> None:
    run = answers.run_replay
    _question(
        say, "Compliance: who was told in the run that raised most alerts?", f"GET /notifications?run={run['run']}"
    )
    _table([{**row, "receivers": ", ".join(row["receivers"]) or "nobody"} for row in answers.told], say)
    command = f"advice-ledger monitor replay --run {run['run']}"
    _question(say, "Auditor: does that run come out the same again?", command)
    agrees = "agrees" if run["agrees"] else "DIFFERS"
    say(f"{agrees}: {counted(run['portfolios'], 'portfolio')} as of {run['as_of']}, root {run['recorded_root']}")


def _auditor(answers: Answers, say: Say) -> None:
    _question(say, "Auditor: are there model calls without a recorded end?", "GET /model-calls?state=open")
    say(f"{answers.orphans or 'none'}")
    replay = answers.replay
    if replay:
        request, recommendation = replay["request_id"], replay["recommendation_id"]
        command = f"advice-ledger replay --request {request} --recommendation {recommendation}"
        _question(say, "Auditor: does the optimiser give the same answer again?", command)
        say(f"{replay['outcome']}, by {replay['agent']} {replay['agent_version']}" + _reason(replay))
    _question(say, "Auditor: is the record unaltered?", "advice-ledger verify")
    verification = answers.verification
    differing = sum(len(model["differences"]) for model in verification["read_models"])
    result = "verified" if verification["ok"] else "FAILED"
    say(f"{result}: {counted(verification['events'], 'event')}, last hash {verification['head_hash']}")
    compared = counted(differing, "difference") if differing else "no rows differ"
    say(f"{len(verification['read_models'])} read models folded again: {compared}")
    _evidence(answers, say)


def _evidence(answers: Answers, say: Say) -> None:
    evidence, client = answers.evidence, answers.client
    _question(say, "Auditor: what has this ledger signed?", "GET /checkpoint")
    say(evidence.checkpoint.rstrip("\n"))
    _question(
        say,
        f"Auditor: is the case of {client} complete and unaltered, without trusting this server?",
        f"advice-ledger export --client {client} -o case.zip\n  advice-ledger-verify case.zip --key {evidence.key}",
    )
    size = counted(evidence.case["checkpoint_size"], "event")
    say(f"{evidence.audit['events']} of {size}, {evidence.audit['proven']} proven")
    say(evidence.audit["verdict"])


def _reason(replay: Mapping[str, Any]) -> str:
    return f": {replay['reason']}: {replay['detail']}" if replay.get("reason") else ""


def _question(say: Say, question: str, command: str) -> None:
    say(f"\n{question}\n  {command}\n")


def _table(rows: Rows, say: Say, most: int = MAX_ROWS) -> None:
    """Print the first rows without empty columns."""
    if not rows:
        say("none")
        return
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    say_table(names, [["" if row[name] is None else row[name] for name in names] for row in rows[:most]])
    if len(rows) > most:
        say(f"and {len(rows) - most} more")
