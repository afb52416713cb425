"""Turn settings into objects, and check them before a database is opened."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from api.agents.protocol import Agent
from api.agents.registry import UnknownAgent, make_agent
from api.cli.configure import endpoint_keys_folder, exports_folder
from api.cli.shared import CannotRun
from api.extras import MissingExtra
from api.jobs.kind import DAY_S, JobFiles
from api.jobs.mail import MailSettings, is_address
from api.jobs.webhook import WebhookSettings
from api.oidc.fetch import is_safe
from api.oidc.provider import ProviderConfig
from api.settings import Settings
from ledger.domain.client import Registration
from ledger.domain.policy import BadPolicy
from ledger.service.policies import Policies
from ledger.tlog.endorse.endorsers import EndorserConfig
from ledger.tlog.endorse.timestamp_client import Authority, BadAuthority
from ledger.tlog.quorum import BadWitness, WitnessPolicy

# The settings of each agent: the name in its class, and the name in `Settings`.
AGENT_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "builtin": {},
    "optimiser": {"until": "agent_until"},
    "openai": {"base_url": "agent_url", "model": "agent_model"},
}

# TLS from the first byte on, and STARTTLS.
PORTS = {"smtps": 465, "smtp": 587}
SERVER = re.compile(r"smtps?://[A-Za-z0-9.:\[\]-]+/?")


def agent(settings: Settings) -> Agent:
    """Return the worker's agent. Raises CannotRun if it lacks a setting, or has one of another agent."""
    name, takes = settings.agent, AGENT_OPTIONS[settings.agent]
    for setting in ("agent_url", "agent_model", "agent_until"):
        if getattr(settings, setting) is not None and setting not in takes.values():
            raise CannotRun(f"the agent {name} has no setting {setting}")
    options = {option: getattr(settings, setting) for option, setting in takes.items()}
    if name == "openai" and None in options.values():
        raise CannotRun("the agent openai needs the settings agent_url and agent_model")
    if name == "openai":
        options["api_key"] = settings.agent_api_key
    try:
        return make_agent(name, **{option: value for option, value in options.items() if value is not None})
    except (MissingExtra, UnknownAgent, ValueError) as error:
        raise CannotRun(f"the agent {name} cannot be used: {error}") from error


def model_server(settings: Settings) -> dict[str, Any]:
    """Return the options of the agent `openai` that the settings hold, for a replay."""
    options = {"base_url": settings.agent_url, "model": settings.agent_model, "api_key": settings.agent_api_key}
    return {name: value for name, value in options.items() if value is not None}


def policies(settings: Settings) -> Policies:
    """Return the policies in the files, or the packaged ones. Raises CannotRun."""
    try:
        files = (settings.four_eyes_policy, settings.reason_codes, settings.signed_acts_policy, settings.access_policy)
        return Policies.of(*files, settings.retention_policy)
    except BadPolicy as error:
        raise CannotRun(" ".join(str(error).split())) from error


def identity_provider(settings: Settings) -> ProviderConfig | None:
    """Return the identity provider, or None without one. Raises CannotRun."""
    issuer, audience = settings.oidc_issuer, settings.oidc_audience
    if (issuer is None) != (audience is None):
        raise CannotRun("the settings oidc_issuer and oidc_audience go together")
    if issuer is None or audience is None:
        if settings.oidc_client_id is not None or settings.oidc_client_secret is not None:
            raise CannotRun("the settings oidc_client_id and oidc_client_secret need oidc_issuer")
        return None
    if not is_safe(issuer):
        raise CannotRun("oidc_issuer must be an address with https, or with http of this machine")
    client_id, secret = settings.oidc_client_id, settings.oidc_client_secret
    if (client_id is None) != (secret is None):
        raise CannotRun("the settings oidc_client_id and oidc_client_secret go together")
    if client_id is not None and not settings.public_origins:
        raise CannotRun("oidc_client_id needs public_origins: the address to which the provider sends browsers back")
    return ProviderConfig(issuer, audience, client_id, secret)


def registration(settings: Settings) -> Registration:
    """Return the rule by which clients are registered."""
    pattern = settings.client_id_pattern
    return Registration(settings.register_clients, None if pattern is None else re.compile(pattern))


def job_files(settings: Settings) -> JobFiles | None:
    """Return the folder for the files of jobs, and how long they are kept; None without a folder."""
    folder = exports_folder(settings)
    return None if folder is None else JobFiles(folder, settings.export_keep * DAY_S)


def webhooks(settings: Settings) -> WebhookSettings | None:
    """Return the settings for sending messages to endpoints. Raises CannotRun."""
    folder = endpoint_keys_folder(settings)
    try:
        networks = tuple(ipaddress.ip_network(text) for text in settings.endpoint_networks)
    except ValueError:
        raise CannotRun("endpoint_networks must be networks such as 127.0.0.0/8 or fd00::/8") from None
    return None if folder is None else WebhookSettings(folder, networks)


def mail(settings: Settings) -> MailSettings | None:
    """Return the settings for sending mail; None without a mail server. Raises CannotRun."""
    folder, server, sender = endpoint_keys_folder(settings), settings.smtp_server, settings.mail_from
    if (settings.smtp_user is None) != (settings.smtp_password is None):
        raise CannotRun("the settings smtp_user and smtp_password go together")
    if (server is None) != (sender is None) or (server is None and settings.smtp_user is not None):
        raise CannotRun("the settings smtp_server and mail_from go together; smtp_user needs them")
    if server is None or sender is None or folder is None:
        return None
    if not is_address(sender):
        raise CannotRun("mail_from must be one address such as ledger@firm.example")
    scheme, host, port = _mail_server(server)
    return MailSettings(host, port, sender, folder, scheme == "smtps", settings.smtp_user, settings.smtp_password)


def _mail_server(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a mail server. Raises CannotRun."""
    try:
        url = urlsplit(text)
        scheme, host, port = url.scheme, url.hostname, url.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in PORTS or not host or port == 0 or SERVER.fullmatch(text) is None:
        raise CannotRun("smtp_server must be such as smtps://mail.example or smtp://mail.example:587")
    return scheme, host, port or PORTS[scheme]


def link_base(settings: Settings) -> str:
    """Return the address that links in messages begin with; an empty string if browsers have none."""
    return settings.public_origins[0] + (settings.root_path or "") if settings.public_origins else ""


def endorsers(settings: Settings) -> EndorserConfig:
    """Return the witnesses and timestamp authorities. Raises CannotRun."""
    if (settings.timestamp_authority is None) != (settings.timestamp_ca is None):
        raise CannotRun("the settings timestamp_authority and timestamp_ca go together")
    try:
        policy = WitnessPolicy.of(settings.witnesses, settings.witness_quorum)
        if settings.timestamp_authority is None or settings.timestamp_ca is None:
            return EndorserConfig(policy)
        authority = Authority.of(settings.timestamp_authority, settings.timestamp_ca, settings.timestamp_every)
        return EndorserConfig(policy, (authority,))
    except (BadWitness, BadAuthority) as error:
        raise CannotRun(str(error)) from error
