"""Who may talk to a server: everyone on a loopback address, elsewhere those with the token; no web page of another site."""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from opengato.errors import OpenGatoError

SHORTEST_TOKEN = 16


def read_token(path: Path) -> str:
    """The token in a file. Raises OpenGatoError where there is none or one that can be guessed."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OpenGatoError(f"token file {path} cannot be read: {error}") from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise OpenGatoError(
            f"token file {path} holds no token of at least {SHORTEST_TOKEN} letters without spaces: "
            "write one, for example with `openssl rand -hex 32`"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refused(request: web.BaseRequest, token: str | None) -> tuple[int, str] | None:
    """Status and sentence for a request that may not come in; None for one that may."""
    origin = request.headers.get("Origin")
    if origin is not None and _parts(origin)[0] != request.host:
        # A browser sends it with every websocket and POST: a page of another site must not steer a robot through its visitor.
        return 403, "requests of web pages of another site are refused"
    if token is None:
        # A name that an attacker points at 127.0.0.1 would have the right Origin, so without a token the name is looked at too.
        if not is_loopback(_parts(f"//{request.host}")[1]):
            return (
                403,
                f"host {request.host[:100]!r} is refused without a token: connect to localhost, or start the server with a token file",
            )
        return None
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    if scheme.lower() not in ("bearer", "api-key") or not right:
        return 401, "the token is missing or wrong: send the header `Authorization: Bearer TOKEN`"
    return None


def _parts(url: str) -> tuple[str, str]:
    """A URL's address with and without its port; empty where it is none."""
    try:
        parts = urlsplit(url)
        return parts.netloc, parts.hostname or ""
    except ValueError:
        return "", ""
