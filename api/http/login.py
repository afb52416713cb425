"""Serve GET /login, GET /login/callback and POST /logout: the session of a browser (docs/operate/openid-connect.md).

Cookies: `ledger_session` has the identity, and no script can read it. `ledger_csrf` is for scripts of this server
alone, which send it back in the header Ledger-CSRF with each write.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from api.callers import Caller
from api.http.auth.sessions import CSRF_COOKIE, SESSION_COOKIE, session_of
from api.http.problems import ApiError
from api.oidc.login import BACK, LOGIN_S, SESSION_S, Login
from api.services import services_of

LOGIN_COOKIE = "ledger_login"
MAX_CODE_CHARS = 4096
NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def install(app: FastAPI) -> None:
    """Serve the login. Without a provider it is refused."""

    @app.get("/login", include_in_schema=False)
    async def begin(request: Request) -> Response:
        login = _login(request)
        begun = await login.begin(request.query_params.get("return_to"))
        response = RedirectResponse(begun.address, 303, NO_STORE)
        # Lax: the provider's redirect is a navigation from another site, and must bring the cookie back.
        _set(response, login, LOGIN_COOKIE, begun.cookie, LOGIN_S, path=request.scope.get("root_path", "") + BACK)
        return response

    @app.get(BACK, include_in_schema=False)
    async def end(request: Request) -> Response:
        login, given = _login(request), request.query_params
        state, code = given.get("state", ""), given.get("code", "")
        ended = None
        if code and len(code) <= MAX_CODE_CHARS:
            ended = await login.end(request.cookies.get(LOGIN_COOKIE), state, code)
        if ended is None:
            raise ApiError("login-failed", "this login was not begun here, took too long, or was refused: begin again")
        if not isinstance(await services_of(request.app).callers.find_identity(ended.identity), Caller):
            raise ApiError("login-failed", "this identity is that of no subject: an administrator registers it")
        response = RedirectResponse(ended.return_to, 303, NO_STORE)
        response.delete_cookie(LOGIN_COOKIE, request.scope.get("root_path", "") + BACK)
        _set(response, login, SESSION_COOKIE, ended.cookie, SESSION_S)
        _set(response, login, CSRF_COOKIE, ended.csrf, SESSION_S, for_scripts=True)
        return response

    @app.post("/logout", include_in_schema=False)
    async def leave(request: Request) -> Response:
        session_of(request, _login(request))
        response = Response(status_code=204, headers=NO_STORE)
        response.delete_cookie(SESSION_COOKIE)
        response.delete_cookie(CSRF_COOKIE)
        return response


def _login(request: Request) -> Login:
    login = services_of(request.app).login
    if login is None:
        raise ApiError("not-found", "this server has no login for browsers: docs/operate/openid-connect.md")
    return login


def _set(
    response: Response,
    login: Login,
    name: str,
    value: str,
    max_age_s: int,
    *,
    path: str = "/",
    for_scripts: bool = False,
) -> None:
    response.set_cookie(
        name, value, max_age_s, path=path, secure=login.is_secure, httponly=not for_scripts, samesite="lax"
    )
