"""``FaultTolerance(app)``: mounts monitor, node API, admin pages and command line into a Flask portal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from flask import Blueprint, Flask, abort, current_app, redirect, url_for

from . import __version__, standing
from .clock import SystemClock
from .config import NodeConfig
from .core.records import RoleRecord
from .core.settings import Settings, SettingsError, designation_of, parse_address
from .core.terms import Designation
from .licence.keep import LicenceStore
from .prechecks import Hook, Hooks
from .report import Report
from .signals import Announcer
from .state import RoleReader
from .store.database import Database, DatabaseUnreachable
from .store.journal import SqlJournal
from .store.keys import Keys
from .store.runtime import RuntimeStore, connect
from .store.settings_store import SettingsStore
from .web.producer import Producer

NAME = "ftplugin"
SOURCE = "portal"
REFUSAL_LOG_S = 10.0
DATABASE_START_LIMIT_S = 3.0
Authorize = Callable[[str], Any]
Layout = str | Callable[[str, str, str], str]


class Portal:
    """Everything one mounted portal works with; ``current_app.extensions["ftplugin"]``."""

    def __init__(
        self,
        config: NodeConfig,
        authorize: Authorize | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
    ) -> None:
        self.config, self.authorize, self.layout, self.actor = config, authorize, layout, actor
        self.version = __version__
        self.clock = SystemClock()
        self.keys = Keys(config.prefix)
        self.report = Report(config.instance_dir, config.log_days)
        self.runtime = RuntimeStore(connect(config.redis_url), self.keys)
        self.role = RoleReader(self.runtime, self.clock)
        self.database = Database(config.database_url)
        self.licence = LicenceStore(config.instance_dir, config.licence_key, config.own_address, self.report)
        self.settings = SettingsStore(
            self.database, config.own_address, config.stop_needed_s, refusal=self.licence.problem
        )
        self.journal = SqlJournal(self.database)
        self.prechecks = Hooks()
        self._announcer = Announcer(self.runtime.client, self.keys)
        self._refusals: dict[str, float] = {}
        self._refusals_lock = threading.Lock()

    def close(self) -> None:
        """Let go of Redis and the database, for a process that goes on without this portal (tests, reloaders)."""
        self._announcer.close()
        self.database.close()
        self.runtime.client.close()

    @cached_property
    def producer(self) -> Producer:
        """Sends orders to the switch worker."""
        return Producer(self.config.redis_url, self.keys.queue("switch"))

    def pause(self, owner: str, reason: str, minutes: int | None) -> bool:
        """Nothing promotes by itself here any more, for ``minutes`` or until resumed (spec 5.6).

        False: the database did not take it, and nothing is paused. Raises standing.OrderError.
        """
        return self._order(standing.PAUSE, owner, reason, minutes)

    def drain(self, owner: str, reason: str) -> bool:
        """This server is not eligible until the drain is ended. False, OrderError: as for ``pause``."""
        return self._order(standing.DRAIN, owner, reason, None)

    def end(self, name: str) -> bool:
        """End the "pause" or "drain" of this server. False: the database did not take it, and it goes on."""
        if not self.journal.set_standing(name, None):
            return False
        self.runtime.forget(name)  # if Redis is silent the agent puts the copy right at its next tick
        return True

    def _order(self, name: str, owner: str, reason: str, minutes: int | None) -> bool:
        clock = self.clock
        document = standing.order(
            owner, reason, minutes, now_s=clock.now_s(), boot_id=clock.boot_id, wall_s=clock.wall_s()
        )
        if not self.journal.set_standing(name, document):
            return False
        self.runtime.publish(name, document)  # if Redis is silent the agent writes the copy at its next tick
        return True

    def designation(self, settings: Settings | None = None) -> Designation | None:
        """Which server this node is; None while the addresses are not set."""
        try:
            return designation_of(self.config.own_address, settings or self.settings.cached()[1])
        except SettingsError:
            return None

    def notice(self, record: RoleRecord | None, switch: Mapping[str, Any] | None = None) -> None:
        """What a request of the current app has read anyway, for the signals (``ftplugin.signals``)."""
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._announcer.see_role(app, self, record)
        self._announcer.see_switch(app, self, switch)

    def refuse(self, cause: str, text: str) -> None:
        """Count a refused message, and log it at most once in 10 s for each cause."""
        self.runtime.count_refused(cause)
        now_s = time.monotonic()
        with self._refusals_lock:
            if now_s - self._refusals.get(cause, float("-inf")) < REFUSAL_LOG_S:
                return
            self._refusals[cause] = now_s
        self.report.line(SOURCE, f"refused message ({cause}): {text}")

    def external_url(self, path: str = "/") -> str:
        """URL of this portal for phones and users: the VIP's with 'Use VIP address to build URLs', else the node's.

        Raises SettingsError when neither the VIP nor FT_OWN_ADDRESS is set.
        """
        _, settings = self.settings.cached()
        if settings.vip_urls and settings.vip_address:
            base = parse_address("vip_address", settings.vip_address).url
        else:
            base = parse_address("FT_OWN_ADDRESS", self.config.own_address).url
        return base + "/" + path.lstrip("/")


class FaultTolerance:
    """The Flask extension. It keeps no app: one object may be mounted into several.

    authorize: called with "view", "operate" or "configure"; True lets the user in, a response is sent instead of the
    page, anything else is 403 (for a visitor whom Flask-Login does not know: its log-in page). Without it everybody whom
    Flask-Login knows is let in; with neither, the admin pages let nobody in.
    blueprint: a blueprint of the portal, not yet registered, into which the admin pages are nested: they get its URL
    prefix, its checks and its headers. Monitor and node API stay at FT_URL_PREFIX, where balancers and the peer ask.
    layout: a template of the portal with the blocks ``title``, ``head`` and ``content``, or a function that gets these
    three as markup and returns the whole page; the pages are shown inside it. Empty: they stand alone.
    actor: the name under which what the user does is recorded; without it Flask-Login's ``get_id()``, which many portals
    make a number.
    """

    def __init__(
        self,
        app: Flask | None = None,
        authorize: Authorize | None = None,
        *,
        blueprint: Blueprint | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
    ) -> None:
        self._authorize, self._blueprint, self._layout, self._actor = authorize, blueprint, layout, actor
        self._prechecks = Hooks()
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        authorize: Authorize | None = None,
        *,
        blueprint: Blueprint | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
    ) -> None:
        """Mount into ``app``; what is given here comes before what the constructor got.

        Raises ConfigError for a wrong FT_* key, RuntimeError when mounted already or when ``blueprint`` is registered.
        """
        if NAME in app.extensions:
            raise RuntimeError(
                "FaultTolerance is already mounted in this app: call init_app once; for a second instance use a second "
                "app with its own FT_PREFIX"
            )
        from .cli import group

        rights, name = authorize or self._authorize, actor or self._actor
        portal = Portal(NodeConfig.of(app.config), rights, layout or self._layout, name)
        portal.prechecks = self._prechecks
        app.extensions[NAME] = portal
        _add_urls(app, portal.config, blueprint or self._blueprint)
        app.cli.add_command(group)
        assert portal.producer.queue  # made now: the first fence must not wait for the import of its parts
        try:
            portal.database.prepare(DATABASE_START_LIMIT_S)
        except DatabaseUnreachable as error:
            app.logger.error("ftplugin: %s; the portal starts all the same and tries again", error)
            portal.report.line(SOURCE, f"{error}; trying again")
        portal.licence.watch()

    def precheck(self, name: str) -> Callable[[Hook], Hook]:
        """Decorator: add a check of the portal's own to those shown before a switchover (``ftplugin.prechecks``).

        The function gets the target ("server2") and the status document; it returns None, the text of a warning, or
        Blocked(text). Raises ValueError when the name is empty or taken.
        """

        def add(hook: Hook) -> Hook:
            self._prechecks.add(name, hook)
            return hook

        return add

    @property
    def portal(self) -> Portal:
        """The current app's Portal."""
        return portal()

    def external_url(self, path: str = "/") -> str:
        """As Portal.external_url, for the current app."""
        return portal().external_url(path)


def _add_urls(app: Flask, config: NodeConfig, outer: Blueprint | None) -> None:
    from .web.admin import make_blueprint as admin
    from .web.monitor import make_blueprint as monitor, mount_legacy
    from .web.node_api import make_blueprint as node_api

    prefix = "/" + config.url_prefix.strip("/") if config.url_prefix.strip("/") else ""
    for blueprint in (monitor(), node_api()):
        app.register_blueprint(blueprint, url_prefix=prefix + (blueprint.url_prefix or ""))
    if prefix:
        app.add_url_rule(prefix + "/", "ft_home", _home)
    if config.legacy_urls:
        mount_legacy(app)
    pages = admin()
    target: Flask | Blueprint = app if outer is None else outer
    try:
        target.register_blueprint(pages, url_prefix=prefix + (pages.url_prefix or ""))
    except AssertionError:
        raise RuntimeError(
            f"blueprint {target.name!r} is registered already: mount FaultTolerance first, then call "
            "app.register_blueprint"
        ) from None


def _home() -> Any:
    """To the status page, wherever the portal has nested it."""
    endpoint = next((name for name in current_app.view_functions if f".{name}".endswith(".ft_admin.index")), None)
    if endpoint is None:
        current_app.logger.error("ftplugin: the blueprint that holds the admin pages is not registered in the app")
        abort(404)
    return redirect(url_for(endpoint))


def portal() -> Portal:
    """The Portal of the current app."""
    found: Portal = current_app.extensions[NAME]
    return found
