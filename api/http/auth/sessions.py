"""Find the identity of a browser's session.

A write needs the session's CSRF token, which only pages of this server can read.
"""

from __future__ import annotations

from fastapi import Request

from api.http.problems import ApiError
from api.oidc.login import Login, Session

SESSION_COOKIE, CSRF_COOKIE, CSRF_HEADER = "ledger_session", "ledger_csrf", "Ledger-CSRF"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def session_of(request: Request, login: Login) -> Session | None:
    """Return the session of a request; None without a session cookie. Raises ApiError `session-over`, `csrf`."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is None:
        return None
    session = login.session(cookie)
    if session is None:
        raise ApiError("session-over", "the session is over: sign in again at /login")
    if request.method not in SAFE and not session.allows(request.headers.get(CSRF_HEADER)):
        raise ApiError("csrf", f"send the value of the cookie {CSRF_COOKIE} in the header {CSRF_HEADER}")
    return session
