"""Choose the key that `serve` signs and verifies with: the configured key, or the key beside the embedded database."""

from __future__ import annotations

from api.cli.configure import origin_of
from api.cli.keys import Place
from api.cli.shared import CannotRun, note
from api.postgres.connect import connect
from api.settings import Settings
from ledger.database import Url
from ledger.tlog.serve.newest_checkpoint import newest_size
from ledger.tlog.sign import keys
from ledger.tlog.sign.last_signed import OWNER_ONLY_FOLDER
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.verify.continuous import VerificationConfig
from projections.beside import CHECKS

NO_COPY = (
    "what was signed last is kept in one file only, so an older copy of the data folder cannot be told: set state_dir"
    " to a folder that is not restored together with it (docs/operate/tlog.md)"
)


def signing_config(settings: Settings, place: Place | None, url: Url) -> SigningConfig | None:
    """Return the signing configuration; None without a key. Raises KeyUnusable for a configured key that cannot be
    used.

    If no key is configured, the embedded database gets one in its folder, unless it was signed with another key
    before.
    """
    if place is None:
        return None
    if settings.key_file is None and place.path is not None and not place.path.exists():
        with connect(url, "reader") as conn:
            if place.state.exists() or newest_size(conn):
                note(f"checkpoints were signed with {place.path}, which is gone: put it back")
                return None
            made = keys.generate(origin_of(conn), place.path)
        note(f"made {place.path}, which signs the checkpoints; give those who verify it: {made.verifier.text}")
    return config_of(settings, place)


def config_of(settings: Settings, place: Place) -> SigningConfig:
    """Read the key, and make the folder for the copy of the state file. Raises KeyUnusable and CannotRun.

    If the default folder cannot be made, as for an account without a home folder, there is no copy.
    """
    copies = place.copies
    if copies is None:
        note(NO_COPY)
    else:
        try:
            copies.mkdir(mode=OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            if settings.state_dir is not None:
                raise CannotRun(f"{copies}: {error.strerror}") from error
            note(f"{copies}: {error.strerror}. {NO_COPY}")
            copies = None
    return SigningConfig(
        place.key(), place.state, settings.sign_every, settings.sign_events, copies, not settings.record_refused
    )


def verification_config(settings: Settings, signing: SigningConfig | None) -> VerificationConfig | None:
    """Return the configuration of background verification; None if it is turned off.

    With a key, signatures are verified too.
    """
    if not settings.verify_rate:
        return None
    keys = (signing.key.verifier,) if signing is not None else ()
    return VerificationConfig(rate=settings.verify_rate, keys=keys, beside=CHECKS)
