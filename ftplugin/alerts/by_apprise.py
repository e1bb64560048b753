"""Mail, chat, webhook and the rest, through Apprise (extra ``alerts``). Loaded in the process that sends alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .causes import Phase, Severity
from .message import Message

MISSING = "Apprise is not installed: pip install 'ftplugin[alerts]'"


class Said(logging.Handler):
    """Keeps what Apprise warns of: its answer is only yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def sender(url: str) -> Callable[[Message], str]:
    """For one target. Raises RuntimeError when Apprise is missing or does not know the URL."""
    try:
        import apprise
    except ImportError:
        raise RuntimeError(MISSING) from None
    said = Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    asset = apprise.AppriseAsset(app_id="Hot Standby", app_desc="Hot Standby", async_mode=False)
    target = apprise.Apprise.instantiate(url, asset=asset)
    if target is None:
        raise RuntimeError("Apprise does not take this URL: " + ("; ".join(said.lines) or "look at its documentation"))
    if url.lower().startswith("mailto") and "format=" not in url:
        target.notify_format = apprise.NotifyFormat.TEXT  # its HTML of plain text is one line that nothing breaks
    receiver = apprise.Apprise(asset=asset)
    receiver.add(target)  # unlike the target alone it makes of plain text what the target wants, as escaped HTML

    def send(message: Message) -> str:
        said.lines.clear()
        done = receiver.notify(
            title=message.headline,
            body=body(message),
            notify_type=apprise.NotifyType(kind_of(message)),
            body_format=apprise.NotifyFormat.TEXT,
        )
        return "" if done else "; ".join(said.lines) or "the target did not take it"

    return send


def kind_of(message: Message) -> str:
    """Apprise's word for how bad it is; it chooses the colour."""
    if message.phase is Phase.RESOLVED:
        return "success"
    return {Severity.CRITICAL: "failure", Severity.WARNING: "warning"}.get(message.severity, "info")


def body(message: Message) -> str:
    """The text of a mail, one fact a line."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(message.at_wall_s))
    who = " ".join(word for word in (message.instance, message.server, message.address) if word)
    lines = [message.text, "", f"Server: {who}", f"Time: {moment}"]
    lines += [f"Severity: {message.severity}", f"Cause: {message.cause} ({message.phase})"]
    if message.rule:
        lines.append(f"Rule: {message.rule}")
    return "\n".join([*lines, f"Incident: {message.incident_id}"])
