"""advice-ledger replay: ask the recorded agent again, with its recorded input."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.agents.run.replay import CannotReplay, Report, replay_recommendation
from api.cli import assemble
from api.cli.administration import on_ledger
from api.cli.configure import configured, opened
from api.cli.shared import (
    COULD_NOT_RUN,
    FOUND_WRONG,
    AsJson,
    CannotRun,
    ConfigFile,
    DatabaseUrl,
    DataDir,
    say,
    say_json,
)
from api.postgres.connect import connect
from api.settings import Settings
from ledger.database import Url
from ledger.proof.auditor.report import printable
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from ledger.store.events import Receipt

EXIT = {"identical": 0, "different": FOUND_WRONG, "failed": COULD_NOT_RUN}
EXPECTED = "as expected: this agent asks a language model, which may answer the same question in another way"
UNEXPECTED = (
    "although this agent is deterministic: either its libraries have changed (see answer.parameters), or a read model "
    "was changed, which advice-ledger verify finds"
)

Request = Annotated[int, typer.Option(min=1, metavar="NUMBER", help="The request whose answer to replay.")]
Recommendation = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="ID",
        show_default=False,
        help="The recommendation to replay. Default: the current one.",
    ),
]

AgentUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", show_default=False, help="Agent openai: the server to ask. Default: the settings."),
]
AgentModel = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default=False, help="Agent openai: the model to ask. Default: the recorded one."),
]


def replay(  # noqa: PLR0913, PLR0917 - each option is an argument
    request: Request,
    recommendation: Recommendation = None,
    agent_url: AgentUrl = None,
    agent_model: AgentModel = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Ask the recorded agent again, with exactly the same input, and compare.

    Question and answer are compared with the record. The replay itself is recorded, under the name of this login; the
    new answer is not. Differences are shown, and may be personal data. Exit code 0 if all is the same, 1 if something
    differs, 2 if the agent cannot run again.
    """
    settings = configured(
        config, agent_url=agent_url, agent_model=agent_model, database_url=database_url, data_dir=data_dir
    )
    server = assemble.model_server(settings)
    with opened(settings) as url:
        connect(url, "reader").close()
        report, receipt = _replayed(settings, url, request, recommendation, server)
    if as_json:
        say_json({**vars(report), "recorded_at_position": receipt.position})
    else:
        _show(report, receipt)
    raise typer.Exit(EXIT[report.outcome])


def _replayed(
    settings: Settings, url: Url, request: int, recommendation: int | None, server: dict[str, Any]
) -> tuple[Report, Receipt]:
    async def work(ledger: Ledger, actor: Actor) -> tuple[Report, Receipt]:
        return await replay_recommendation(ledger, actor, request, recommendation, server)

    try:
        return on_ledger(settings, url, work)
    except CannotReplay as error:
        raise CannotRun(str(error)) from error


def _show(report: Report, receipt: Receipt) -> None:
    say(f"request         {report.request_id}")
    say(f"recommendation  {report.recommendation_id}")
    say(printable(f"agent           {report.agent} {report.agent_version}"))
    if report.model_call_id is not None:
        say(f"model call      {report.model_call_id}, which saw the ledger up to position {report.as_of}")
    say(f"question        {report.asked or 'not compared'}")
    say(f"answer          {report.answered or 'not compared'}")
    for difference in report.differences:
        say(printable(f"  {difference.path}"))
        say(printable(f"    recorded  {'(nothing)' if difference.recorded is None else difference.recorded}"))
        say(printable(f"    replayed  {'(nothing)' if difference.replayed is None else difference.replayed}"))
    if report.more_differences:
        say(f"  {report.more_differences} more differences are not shown")
    say(printable(_verdict(report)))
    say(f"recorded as event {receipt.position}; the new answer is not kept")


def _verdict(report: Report) -> str:
    if report.outcome == "identical":
        return "identical: the same question and the same answer, bit for bit"
    if report.outcome == "different":
        return f"different, {UNEXPECTED if report.deterministic else EXPECTED}"
    return f"failed: {report.reason}: {report.detail}"
