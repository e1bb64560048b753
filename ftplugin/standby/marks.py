"""``@ft.active_only``: marks views and blueprints that run on the active server alone, and decides for each request to them.

The decision is made before every ``before_request`` function: a check of the portal that reads the form (CSRF) would leave no
body to pass on, and who may do what is the active server's to say. A marked view asks again when it is called, in case a
decorator around it has hidden the mark; then the request's body must not have been read yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any
from xml.sax.saxutils import quoteattr  # nosec B406 # writes XML, reads none

from flask import Blueprint, Response, abort, current_app, request
from werkzeug.exceptions import InternalServerError

from ftplugin.extension import NAME, Portal
from ftplugin.said import Said

from . import hop, where
from .door import SLIP, Slip
from .forward import Order, own_name
from .headers import been_here
from .limits import Limits
from .unavailable import PHONE, unavailable

RULE = "ft_active_only"
PROXY, REDIRECT = "proxy", "redirect"
WAYS = (PROXY, REDIRECT, PHONE)
PHONE_URL_CHARS_MAX = 256  # of a URL in the XML that Cisco's phones read
LOOP = Said("The other server sent this request here, but this server is not active either.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How requests to what is marked reach the active server."""

    by: str
    limits: Limits


def active_only(target: Any = None, *, by: str = PROXY, limits: Limits = Limits()) -> Any:
    """Mark ``target``, a view function or a blueprint that is not registered yet; without it a decorator that does.

    by: what a request gets on a standby server. "proxy": it is passed on and the answer comes back. "redirect": 307 to the
    active server's own address. "phone": XML that makes a Cisco phone fetch it there. limits: of passing on.
    Raises ValueError for another ``by``, TypeError when ``target`` is neither a function nor a blueprint.
    """
    if by not in WAYS:
        raise ValueError(f"active_only: by={by!r}: must be one of {', '.join(WAYS)}")
    rule = Rule(by=by, limits=limits)
    if target is None:
        return lambda found: _mark(found, rule)
    return _mark(target, rule)


def _mark(target: Any, rule: Rule) -> Any:
    if isinstance(target, Blueprint):
        target.url_value_preprocessor(lambda endpoint, values: send_on(rule))
        return target
    if not callable(target) or isinstance(target, type):
        raise TypeError(
            f"active_only: {target!r} is neither a view function nor a blueprint (of a class: its as_view())"
        )
    return _wrapped(target, rule)


def _wrapped(view: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    @wraps(view)
    def inner(*args: Any, **values: Any) -> Any:
        send_on(rule, late=True)
        return current_app.ensure_sync(view)(*args, **values)

    setattr(inner, RULE, rule)
    return inner


def look(views: Mapping[str, Callable[..., Any]]) -> Callable[[str | None, Any], None]:
    """For each request of the app that has these ``views``, before anything else of it: send on what asks for a marked one."""

    def at(endpoint: str | None, values: Any) -> None:
        rule: Rule | None = getattr(views.get(endpoint or ""), RULE, None)
        if rule is not None:
            send_on(rule)

    return at


def send_on(rule: Rule, *, late: bool = False) -> None:
    """Return on the active server; elsewhere end the request with what ``rule`` says. late: the view itself was called."""
    ft: Portal | None = current_app.extensions.get(NAME)
    slip: Slip | None = request.environ.get(SLIP)
    if ft is None or ft.door is None or slip is None:
        raise RuntimeError("active_only: FaultTolerance is not mounted in this app: call init_app(app)")
    if slip.looked:
        return
    slip.looked = True
    place = ft.door.finder.find()
    if place.here:
        return
    again = slip.hop_epoch is not None and slip.hop_epoch >= place.seen_epoch
    if slip.passed_on or again or been_here(request.headers.get("Via", ""), own_name(ft)):
        abort(unavailable(ft, LOOP, rule.by))
    if place.problem is not None or place.address is None or place.me is None:
        abort(unavailable(ft, place.problem or where.NOT_KNOWN, rule.by))
    url = place.address.url + hop.marked(hop.target_of(request.environ), place.seen_epoch)
    if rule.by == REDIRECT:
        abort(_uncached(Response(status=307, headers={"Location": url})))
    if rule.by == PHONE and len(url) <= PHONE_URL_CHARS_MAX and request.method in ("GET", "HEAD"):
        body = f'<CiscoIPPhoneExecute><ExecuteItem Priority="0" URL={quoteattr(url)}/></CiscoIPPhoneExecute>'
        abort(_uncached(Response(body, content_type="text/xml; charset=utf-8")))
    if request.method in ("OPTIONS", "TRACE") and request.headers.get("Max-Forwards", "").strip() == "0":
        abort(Response(status=204))  # RFC 9110 7.6.2: it asks who is on the way, and ends here
    if late and _body_was_read():
        current_app.logger.error(
            "ftplugin: the body of %s was read before active_only could pass it on: put @ft.active_only above the decorators "
            "of this view, or give them functools.wraps",
            request.endpoint,
        )
        raise InternalServerError
    slip.order = Order(me=place.me, address=place.address, limits=rule.limits, by=rule.by)
    abort(Response(status=503))  # nobody gets it: ``door`` puts the active server's answer in its place


def _body_was_read() -> bool:
    has_body = bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    return has_body and ("form" in request.__dict__ or "stream" in request.__dict__)


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
