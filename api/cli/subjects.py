"""advice-ledger subjects: people, agents and services, their roles, groups and suspensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.administration import Name, command, made, minute, rows_of, shown, subject_of, time_text
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.cli.subject_changes import changes
from api.http.auth.tokens import new_token
from ledger.domain.subject import AGENT, ALL_ROLES
from ledger.domain.subject_commands import Change, NewToken
from projections.subjects.model import SUBJECTS, Subject
from schema.events import (
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)

app = typer.Typer(
    help="People, agents and services that may act. Their roles, groups and suspensions are recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Role = Annotated[str, typer.Argument(metavar="|".join(ALL_ROLES), help="The role.")]
Group = Annotated[str, typer.Argument(metavar="GROUP", help="The group: a to z, 0 to 9 and -.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why. It is recorded as a sealed value.")]
AnyReason = Annotated[
    str | None, typer.Option(metavar="TEXT", show_default=False, help="Why. It is recorded as a sealed value.")
]


@app.command()
def add(  # noqa: PLR0913, PLR0917 - each option is an argument
    name: Name,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(ALL_ROLES), show_default=False, help="A role; may be given several times."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="human|agent|service",
            show_default=False,
            help="What it is. Default: agent with the role agent, else human.",
        ),
    ] = None,
    display_name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default=False, help="The name to show. It is recorded as a sealed value."),
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="Issue a token as well, and print it.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Register a subject, perhaps with roles and a token. A token is shown only now."""
    roles = role or []
    event = made(SubjectRegistered, kind=kind or (AGENT if AGENT in roles else "human"), display_name=display_name)
    text, sha256 = new_token()
    first = NewToken(sha256) if token else None
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    result = {"name": name, "kind": event.kind, "roles": roles, "token": text if token else None}
    with opened(settings) as url:
        command(settings, url, lambda ledger, actor: ledger.register(actor, name, event, roles, first))
        if token:
            shown(settings, url, name, sha256, lambda: say_json(result) if as_json else say(text))
            return
    if as_json:
        say_json(result)
    else:
        say(f"registered {name}")


@app.command(name="list")
def list_subjects(
    as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List all subjects: name, kind, roles, groups, suspended since when."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, SUBJECTS, Subject)
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (one.name, one.kind or "", " ".join(one.roles), " ".join(one.groups), _suspended(one), minute(one.created_at))
        for one in found
    ]
    say_table(("name", "kind", "roles", "groups", "suspended (UTC)", "registered (UTC)"), rows)


@app.command()
def show(
    name: Name,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one subject: its roles and their limits, its groups, its last suspension."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = subject_of(url, name)
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        _show(found)


@app.command()
def grant(  # noqa: PLR0913, PLR0917 - each option is an argument
    name: Name,
    role: Role,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", show_default=False, help="When the role ends, such as 2030-01-31."),
    ] = None,
    client: Annotated[
        list[int] | None,
        typer.Option(metavar="N", show_default=False, help="For this client alone, by number; may be repeated."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Let a subject act in a role, perhaps until a time, perhaps for some clients alone."""
    event = made(SubjectRoleGranted, role=role, until=time_text(until), clients=client)
    _change(name, event, as_json, database_url, data_dir, config)


@app.command()
def revoke(
    name: Name,
    role: Role,
    reason: AnyReason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Take a role from a subject. Running servers hold to it within a second."""
    _change(name, made(SubjectRoleRevoked, role=role, reason=reason), as_json, database_url, data_dir, config)


@app.command()
def suspend(
    name: Name,
    reason: Reason,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Suspend a subject until somebody resumes it. Roles and credentials stay as they are."""
    _change(name, made(SubjectSuspended, reason=reason), as_json, database_url, data_dir, config)


@app.command()
def resume(
    name: Name,
    reason: Reason,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End the suspension of a subject."""
    _change(name, made(SubjectResumed, reason=reason), as_json, database_url, data_dir, config)


@app.command()
def join(
    name: Name,
    group: Group,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a subject a member of a group."""
    _change(name, made(SubjectGroupJoined, group=group), as_json, database_url, data_dir, config)


@app.command()
def leave(
    name: Name,
    group: Group,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Take a subject out of a group."""
    _change(name, made(SubjectGroupLeft, group=group), as_json, database_url, data_dir, config)


app.command(name="changes")(changes)


def _change(
    name: str, event: Change, as_json: bool, database_url: str | None, data_dir: Path | None, config: Path | None
) -> None:
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        receipt = command(settings, url, lambda ledger, actor: ledger.change(actor, name, event))
    if as_json:
        say_json({"name": name, "event": event.type, "position": receipt.position})
    else:
        say(f"{event.type} of {name}: recorded as event {receipt.position}")


def _suspended(one: Subject) -> str:
    return minute(one.suspended_at) if one.suspended else ""


def _show(one: Subject) -> None:
    say(f"name       {one.name}")
    say(f"kind       {one.kind or 'not registered'}")
    say(f"shown as   {one.display_name or ''}")
    for grant_ in one.grants:
        until = f", until {minute(grant_.until)} UTC" if grant_.until else ""
        clients = f", for clients {', '.join(map(str, grant_.clients))}" if grant_.clients is not None else ""
        say(f"role       {grant_.role}{until}{clients}; granted by {grant_.granted_by}, event {grant_.position}")
    say(f"groups     {' '.join(one.groups)}")
    say(f"suspended  {f'since {_suspended(one)} UTC, by {one.suspended_by}' if one.suspended else 'no'}")
