"""Cisco AXL as health check: ``getCCMVersion`` over SOAP 1.1, HTTPS and basic authentication (guide 3, "AXL").

Neither zeep nor requests: one fixed envelope of 250 bytes is sent. zeep would load Cisco's WSDL (thousands of types) into a
tick worker whose memory is bounded, and the timeout of requests is per read, so an answer that drips never ends.

A call manager that throttles answers HTTP 503: it lives, so that is degraded, not failed. The answer comes from outside: it
is bounded, read by defusedxml, and what is quoted of it holds no password.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from ftplugin.health.checks import Degraded
from ftplugin.health.tables import HealthTable
from ftplugin.http_client import Answer

from .web import Endpoint, WebProblem

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
NAMESPACE = "http://www.cisco.com/AXL/API/"
PATH = "/axl/"
OPERATION = "getCCMVersion"
SAID = {  # HTTP status -> what it means here
    401: "user or password is wrong (HTTP 401)",
    403: "the user may not use AXL (HTTP 403): give it the role 'Standard AXL API Access'",
    404: "there is no AXL at this address (HTTP 404): is the Cisco AXL Web Service activated?",
}


def axl(table: HealthTable) -> Callable[[], str]:
    """Check of kind "axl": "" when the call manager tells its version, ``Degraded`` on HTTP 503, else what was wrong."""
    options = table.options
    login = base64.b64encode(f"{options['user']}:{options['password']}".encode()).decode()
    link = Endpoint(
        options["url"],
        limit_s=table.timeout_s,
        ca_file=options["ca_file"],
        verify=options["verify"],
        hidden=(login, options["password"]),
    )
    target = PATH if link.target == "/" else link.target
    headers = {
        "Authorization": f"Basic {login}",
        "Content-Type": "text/xml; charset=utf-8",
        "SOAPAction": f'"CUCM:DB ver={options["version"]} {OPERATION}"',
    }
    body = envelope(options["version"])

    def check() -> str:
        try:
            return _problem(link.ask("POST", target, headers, body), options["version"], link.quoted)
        except WebProblem as problem:
            return str(problem)

    return check


def envelope(version: str) -> bytes:
    """The question, for an AXL version such as "12.5"."""
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:ns="{NAMESPACE}{version}">'
        f"<soapenv:Body><ns:{OPERATION}/></soapenv:Body></soapenv:Envelope>"
    ).encode()


def _problem(answer: Answer, version: str, quoted: Callable[[str], str]) -> str:
    if answer.status == 503:
        return Degraded("throttled: it answers HTTP 503, so it lives but takes no requests now")
    if answer.status == 599:
        return f"the call manager does not speak AXL version {version} (HTTP 599): change the key 'version'"
    if answer.status in SAID:
        return SAID[answer.status]
    if answer.status not in (200, 500):
        return f"answers HTTP {answer.status}"
    return _read(answer, version, quoted)


def _read(answer: Answer, version: str, quoted: Callable[[str], str]) -> str:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(answer.body)
    except (ParseError, DefusedXmlException, ValueError, LookupError):  # LookupError: an encoding nobody knows
        return f"answers HTTP {answer.status}, but not with XML that can be read"
    body = root.find(f"{{{SOAP}}}Body")
    if root.tag != f"{{{SOAP}}}Envelope" or body is None:
        return f"answers HTTP {answer.status} with XML that is no SOAP answer"
    fault = body.find(f"{{{SOAP}}}Fault")
    if fault is not None:
        return f"refuses {OPERATION}: {quoted(fault.findtext('faultstring') or 'no reason given')}"
    found = body.findtext(f"{{{NAMESPACE}{version}}}{OPERATION}Response/return/componentVersion/version")
    if answer.status != 200 or not (found or "").strip():
        return f"answers HTTP {answer.status} without its version: is that AXL {version}?"
    return ""
