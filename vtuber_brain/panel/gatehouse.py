"""Who may see the panel: a token or a ticket becomes a cookie, and without it nothing of the panel is served.

Paths that are not the panel's are the API's, which knows nothing of cookies.
"""

from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from vtuber_brain.control.guard import INSIDE, Access, Refusal, turn_away
from vtuber_brain.control.sessions import COOKIE, LASTS_S, Sessions
from vtuber_brain.control.tokens import Who
from vtuber_brain.panel.texts import language_of, texts
from vtuber_brain.panel.tickets import Tickets
from vtuber_brain.runtime.clock import unix_s

LOGIN, LOGOUT, NIGHT = "/login", "/logout", "/night"
_OWN = {"/", LOGIN, LOGOUT, NIGHT, "/favicon.ico"}
_BELOW = ("/_nicegui/", "/_nicegui_ws/")
_PAGE = """<!doctype html><meta charset="utf-8"><title>vtuber-brain</title>
<meta name="color-scheme" content="dark light">
<style>body{{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0}}
form{{max-width:26rem;padding:2rem}}input{{font:inherit;width:100%;padding:.5rem;box-sizing:border-box}}
button{{font:inherit;margin-top:1rem;padding:.5rem 1.5rem}}code{{font-size:.9em}}.why{{color:#e5484d}}</style>
<form method="post" action="/login"><h1>{title}</h1><p class="why">{why}</p><p>{how}</p>
<p><code>vtuber-brain panel --config FILE</code></p>
<input name="token" type="password" autocomplete="current-password" autofocus aria-label="{token}">
<button>{enter}</button></form>"""
_AGAIN = '<!doctype html><meta http-equiv="refresh" content="0;url=/">'
"""A link on another site leads here without the cookie; a step from our own page has it."""


class Gatehouse:
    """Before `api`; `panel` serves what is the panel's, `night` last night's report."""

    def __init__(
        self, api: ASGIApp, panel: ASGIApp, night: ASGIApp, sessions: Sessions, access: Access, tickets: Tickets
    ) -> None:
        self._api, self._panel, self._night, self._sessions, self._access = api, panel, night, sessions, access
        self._tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope["path"]
        if path not in _OWN and not path.startswith(_BELOW):
            await self._api(scope, receive, send)
            return
        who = self._who(scope)
        if scope["type"] == "websocket":
            await (self._panel(_as(scope, who), receive, send) if who is not None else turn_away(receive, send))
            return
        if path in (LOGIN, LOGOUT):
            request = Request(scope, receive)
            response = await self._login(request) if path == LOGIN else _left(request)
            await response(scope, receive, send)
        elif who is not None:
            await (self._night if path == NIGHT else self._panel)(_as(scope, who), receive, send)
        else:
            await _stranger(Request(scope))(scope, receive, send)

    def _who(self, scope: Scope) -> Who | None:
        client = scope.get("client")
        cookie = _cookie(scope)
        return self._sessions.who(cookie, client[0] if client else "", unix_s()) if cookie else None

    async def _login(self, request: Request) -> Response:
        """GET is the link that is printed, POST the form; either way the token is gone from the address at once."""
        given = request.query_params.get("token", "")
        if request.method == "POST":
            given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0]
        if not given:
            return login_page(request)
        address = request.client.host if request.client is not None else ""
        try:
            is_ticket = self._tickets.take(given)
            who = self._sessions.owner(address) if is_ticket else await self._access.identify(address, given.strip())
        except Refusal as refusal:
            return login_page(request, refusal.code, refusal.status)
        answer = RedirectResponse("/", 303)
        cookie = self._sessions.begin(who, unix_s())
        answer.set_cookie(COOKIE, cookie, max_age=LASTS_S, httponly=True, samesite="strict")
        return answer


def login_page(request: Request, why: str = "", status: int = 200) -> HTMLResponse:
    """The form in which a token can be given; `why` is the code of what went wrong."""
    say = texts(language_of("", request.headers.get("accept-language", "")))
    reason = say.get(f"login_{why}", why) if why else ""
    page = _PAGE.format(
        title=escape(say["login_title"]),
        why=escape(reason),
        how=escape(say["login_how"]),
        token=escape(say["login_token"]),
        enter=escape(say["login_enter"]),
    )
    # With no referrer at all the browser would send the form without an origin.
    return HTMLResponse(page, status, headers={"referrer-policy": "same-origin", "x-frame-options": "DENY"})


def _stranger(request: Request) -> Response:
    if request.url.path == "/favicon.ico":
        return Response(status_code=204)
    if request.url.path != "/":
        return Response(status_code=401)
    if request.headers.get("sec-fetch-site") == "cross-site" and request.headers.get("sec-fetch-mode") == "navigate":
        return HTMLResponse(_AGAIN)
    return RedirectResponse(LOGIN, 303)


def _left(request: Request) -> Response:
    """Only a form of ours ends a session; a link could stand anywhere."""
    if request.method != "POST":
        return RedirectResponse("/", 303)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _as(scope: Scope, who: Who | None) -> Scope:
    return {**scope, INSIDE: who}


def _cookie(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if found is not None:
                return found.value
    return None
