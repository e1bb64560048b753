"""``POST <prefix>/node/pair``: pairing with a one-time code (``ftplugin.pairing``). 404 unless 'ft pair' opened one.

Nothing of a pair is needed to ask, so it tells nothing to who has not the code: the session's salt and public key
alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.local_programs import with_own_keys
from ftplugin.pairing.files import SecretFileError

KEY_COMMANDS = ("keys", "key_new", "key_sign", "key_drop", "key_revoke")  # of ``pairing.rotation``


def add_to(blueprint: Blueprint) -> None:
    """Put the address into the blueprint ``ft_node``."""
    blueprint.add_url_rule("/pair", "pair", pair, methods=["POST"])


def pair() -> Response:
    """One message of a pairing: {v, step, …}, at most 8 kB."""
    from ftplugin.pairing.session import FILE

    ft = portal()
    if not (ft.config.instance_dir / FILE).exists():  # nobody pairs: load nothing, do nothing
        return _answer(404, {"error": "no code is open here; run 'ft pair' on this server"})
    return _paired(ft)


def _paired(ft: Portal) -> Response:
    from ftplugin.pairing.answer import MESSAGE_BYTES_MAX, Answering, Refused, WrongCode
    from ftplugin.pairing.exchange import PairingError
    from ftplugin.pairing.session import Closed, Sessions

    whence = str(request.remote_addr)
    raw = request.stream.read(MESSAGE_BYTES_MAX + 1)
    try:
        message = json.loads(raw) if len(raw) <= MESSAGE_BYTES_MAX else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        return _refused(
            ft, 400, "unreadable", f"a pairing message must be a JSON object of at most {MESSAGE_BYTES_MAX} bytes"
        )
    answering = Answering(
        config=ft.config,
        settings=ft.settings.cached()[1],
        version=ft.version,
        sessions=Sessions(ft.config.instance_dir, ft.clock),
        client=ft.runtime.client,
        say=lambda text: ft.report.line(SOURCE, text),
    )
    try:
        return _answer(200, answering.answer(message, whence))
    except Closed as error:
        return _refused(ft, 404, "pairing", str(error))
    except WrongCode as error:
        ft.runtime.count_refused("unsigned")
        ft.report.line(SOURCE, f"pairing: {error} (from {whence})")  # each of them: there are five at most
        return _answer(403, {"error": str(error)})
    except Refused as error:
        return _refused(ft, 409, "pairing", str(error))
    except PairingError as error:
        return _refused(ft, 400, "unreadable", str(error))
    except (SecretFileError, OSError) as error:
        ft.report.line(SOURCE, f"pairing failed: {error}")
        return _answer(503, {"error": "this server cannot write its files; its log says which"})


def key_command(ft: Portal, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A signed command about the keys of the pair. Raises ProtocolError."""
    from ftplugin.pairing.rotation import asked

    try:
        answer = asked(
            ft.config.secrets.keys_file,
            name,
            body,
            lambda text: ft.report.line(SOURCE, text),
            lambda: with_own_keys(ft.config.instance_dir),
        )
    except (SecretFileError, OSError) as error:
        ft.report.line(SOURCE, f"{name} failed: {error}")
        return {"taken": False, "error": "this server cannot write its file of keys; its log says why"}
    return {"taken": True, "error": "", **answer}


def _refused(ft: Portal, status: int, cause: str, text: str) -> Response:
    ft.refuse(cause, f"pairing: {text} (from {request.remote_addr})")
    return _answer(status, {"error": text})


def _answer(status: int, document: dict[str, Any]) -> Response:
    response = Response(json.dumps(document), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
