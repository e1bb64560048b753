"""What is told of one look: names, help and labels. docs/metrics.md lists them; names and labels stay as they are."""

from __future__ import annotations

from ftplugin.balancer.probers import drifted
from ftplugin.core.terms import Role, ServiceState, VipDestination
from ftplugin.core.timing import Timing
from ftplugin.health.checks import CheckState
from ftplugin.licence.keep import LicenceState
from ftplugin.replicate.shown import summary
from ftplugin.standing import DRAIN
from ftplugin.state import CONTENT
from ftplugin.status import servers, starts
from ftplugin.status.plain import count, mapping, number, sequence, text

from .look import CONFLICTS, Look
from .sheet import Sheet
from .tally import BOUNDS_S, DOCUMENT, Share, Tally

ROLES = ("active", "standby", "error")  # as on the status page
PHASES = ("starting", "ready", "stopping")
PROMOTING = ("B1", "C2", "C3", "F1", "F2", "H1", "M1", "M2")  # rules that promote; their counts are told from 0 on
DEMOTING = ("I1", "L1", "P1", "W1", "X1", "fence", "recover")  # what demotes this server, alike
LAN_WORDS = {"up": True, "down": False}
SERVICES_MAX, CHECKS_MAX, PROBERS_MAX = 64, 64, 64


def sheet_of(look: Look, *, version: str, instance: str, licence: LicenceState) -> Sheet:
    """Everything that is told of one look. instance: FT_PREFIX. licence: as the store of licences says now."""
    sheet = Sheet()
    _self(sheet, look, version, instance)
    _role(sheet, look)
    _settings(sheet, look)
    _orders(sheet, look)
    _peer(sheet, look)
    _surroundings(sheet, look)
    _services(sheet, look)
    _health(sheet, look)
    _replication(sheet, look)
    _balancers(sheet, look)
    _switches(sheet, look)
    _sums(sheet, look)
    good = licence.refused is None if licence.needed else None
    sheet.gauge("ft_licence_ok", "1: the licence is good. 0: none, or not good. Absent: none is needed.", good)
    sheet.gauge("ft_licence_days_left", "Days until a good licence expires.", licence.days_left)
    return sheet


def _self(sheet: Sheet, look: Look, version: str, instance: str) -> None:
    named = {"version": version, "server": str(look.designation or ""), "prefix": instance}
    sheet.gauge("ft_build_info", "Version of the portal's plugin, and which server this is.", 1, **named)
    answered = look.record is not None
    sheet.gauge("ft_redis_up", "1: the Redis of this server answers. 0: nothing below is known.", answered)
    sheet.gauge("ft_database_up", "1: the database of this server answers.", look.switches is not None)
    sheet.gauge("ft_agent_up", "1: the agent has ticked within 2 T. 0: what only it knows is absent.", look.fresh)
    sheet.gauge("ft_agent_age_seconds", "Since the agent's last heartbeat; absent: none since boot.", look.agent_age_s)


def _role(sheet: Sheet, look: Look) -> None:
    sheet.gauge("ft_active", "1: the monitor answers ACTIVE, inside a valid lease. 0: STANDBY.", look.left_s > 0)
    word = "active" if look.left_s > 0 else "standby" if look.fresh and look.designation else "error"
    sheet.one_of("ft_role", "Role of this server as the status page shows it.", "role", ROLES, word)
    record = look.record
    if record is None:
        return
    sheet.one_of("ft_phase", "How far the role is carried out.", "phase", PHASES, str(record.phase))
    sheet.gauge("ft_epoch", "Epoch of the role.", record.epoch)
    sheet.gauge("ft_seen_epoch", "Highest epoch seen here.", max(record.epoch, record.seen_epoch))
    left_s = look.left_s if record.role is Role.ACTIVE else None
    sheet.gauge("ft_lease_left_seconds", "Until the lease ends; 0: it has run out. Absent on a standby server.", left_s)
    sheet.gauge("ft_lease_seconds", "Length of a lease, by the settings that both servers have.", look.lease_s)


def _settings(sheet: Sheet, look: Look) -> None:
    settings = look.settings
    sheet.gauge("ft_enabled", "1: Hot Standby mode is on.", settings.enabled)
    sheet.gauge("ft_heartbeat_interval_seconds", "Heartbeat interval T.", settings.interval_s)
    sheet.gauge("ft_heartbeat_timeout_seconds", "Heartbeat timeout t.", settings.timeout_s)
    sheet.gauge("ft_threshold", "Consecutive failures N that make a failover.", settings.threshold)
    sheet.gauge("ft_expected_failover_seconds", "Expected delay of a failover.", look.expected_failover_s)
    sheet.gauge("ft_settings_revision", "Revision of the settings.", look.revision)


def _orders(sheet: Sheet, look: Look) -> None:
    """What holds switches back."""
    if look.record is None:
        return
    sheet.gauge("ft_paused", "1: automatic switching is paused.", look.paused)
    sheet.gauge("ft_drained", "1: this server is drained, not eligible.", bool(look.documents[DRAIN]))
    if not look.fresh:
        return
    sheet.gauge("ft_frozen", "1: too many switches; frozen until somebody acknowledges it.", look.frozen)
    sheet.gauge("ft_manual_hold", "1: a switchover holds B1 and F2.", look.agent.get("manual_hold") is True)
    alarms = len(sequence(look.of_tick("decision").get("alarms")))
    sheet.gauge("ft_alarms", "Alarms of the last heartbeat; the status page has their sentences.", alarms)


def _peer(sheet: Sheet, look: Look) -> None:
    agent, view = look.agent, look.of_tick("view")
    probe = mapping(view.get("peer"))
    state = mapping(probe.get("state")) or mapping(mapping(view.get("vip")).get("peer_state"))
    heard_s = look.age_s(agent.get("peer_heard_s"))
    sheet.gauge("ft_peer_age_seconds", "Since the last good probe of the other server; absent: never heard.", heard_s)
    if not probe:
        return
    sheet.gauge("ft_peer_up", "1: the last probe of the other server was good.", probe.get("cause") == "ok")
    streak = number(mapping(look.of_tick("memory").get("memory")).get("bad_streak"))
    sheet.gauge("ft_bad_streak", "Consecutive bad probes; N of them make a failover.", streak)
    skew_s = number(probe.get("skew_s"))
    sheet.gauge("ft_clock_skew_seconds", "How far the other server's clock is ahead.", skew_s)
    if not state:
        return
    left_s = (number(state.get("lease_left_s")) or 0.0) - (look.agent_age_s or 0.0)
    word = "active" if state.get("role") == Role.ACTIVE and left_s > 0 else "standby"
    sheet.one_of("ft_peer_role", "Role of the other server as it signed it.", "role", ROLES[:2], word)
    sheet.gauge("ft_peer_epoch", "Epoch of the other server.", count(state.get("epoch")))
    behind = max(0, count(state.get("settings_revision")) - look.revision)
    sheet.gauge("ft_replication_lag_revisions", "Revisions of the settings that are still to come from there.", behind)


def _surroundings(sheet: Sheet, look: Look) -> None:
    view = look.of_tick("view")
    if not view:
        return
    lan = LAN_WORDS.get(servers.lan(view.get("lan")))
    sheet.gauge("ft_lan_up", "1: carrier, and a reference host answers. Absent: could not tell.", lan)
    destination = text(mapping(view.get("vip")).get("destination")) or str(VipDestination.UNKNOWN)
    asked = destination if look.settings.vip_address else None
    places = [str(place) for place in VipDestination]
    sheet.one_of("ft_vip_destination", "Where the VIP leads.", "destination", places, asked)
    for vote in map(mapping, sequence(view.get("votes"))):
        voter, there = text(vote.get("voter"), 20), vote.get("mark") is not None
        sheet.gauge("ft_voter_up", "1: this voter could be read at the last heartbeat.", there, voter=voter)


def _services(sheet: Sheet, look: Look) -> None:
    quiet_s = Timing.of(look.settings).quiet_s
    shown = starts.services_now(look.of_tick("services"), look.of_tick("switch"), look.boot_id, look.now_s, quiet_s)
    states = [str(state) for state in ServiceState]
    for service in servers.service_list(shown, look.now_s)[:SERVICES_MAX]:
        name, state = service["name"], service["state"]
        state = state if state in states else str(ServiceState.UNKNOWN)
        sheet.one_of("ft_service_state", "State of a service.", "state", states, state, service=name)
        given_up, restarts = service["given_up"], service["restarts"]
        sheet.gauge("ft_service_given_up", "1: the watchdog has given it up.", given_up, service=name)
        sheet.gauge("ft_service_restarts", "Restarts in the watchdog's window.", restarts, service=name)
        owners = len(service["owners"])
        sheet.gauge("ft_service_other_owners", "Others that own what it owns.", owners, service=name)


def _health(sheet: Sheet, look: Look) -> None:
    sheet.gauge("ft_health_ok", "1: IPSWS=OK. 0: a check has failed, or is too old.", look.health.ok)
    states = [str(state) for state in CheckState]
    for check in look.health.checks[:CHECKS_MAX]:
        now = None if check.old else str(check.state)
        sheet.one_of("ft_health_check", "Result of a check; too old: absent.", "state", states, now, name=check.name)


def _replication(sheet: Sheet, look: Look) -> None:
    document, open_conflicts = look.documents[CONTENT], look.documents[CONFLICTS]
    found = summary(document, open_conflicts, boot_id=look.boot_id, now_s=look.now_s)
    works = None if found["word"] == "none" else found["word"] in ("same", "differs")
    sheet.gauge(
        "ft_replication_ok", "1: the portal's rows and files replicate. 0: they do not. Absent: none do.", works
    )
    for name, thing in {} if found["word"] in ("none", "old") else sorted(found["things"].items()):
        behind, ahead = count(mapping(thing).get("behind")), count(mapping(thing).get("ahead"))
        sheet.gauge("ft_replication_behind_items", "Rows or files still to come from there.", behind, thing=name)
        sheet.gauge("ft_replication_ahead_items", "Rows or files newer here than there.", ahead, thing=name)
    conflicts = number(open_conflicts.get("open"))
    sheet.gauge("ft_replication_conflicts", "Edits that gave way and wait for somebody.", conflicts)


def _balancers(sheet: Sheet, look: Look) -> None:
    asking = [prober for prober in look.probers if not prober.quiet][:PROBERS_MAX]
    for prober in asking:
        who = {"address": prober.address, "question": prober.question}
        sheet.gauge("ft_prober_interval_seconds", "How often it asks the monitor.", prober.interval_s, **who)
    drift = {(d.prober.address, d.prober.question): d.earlier_s or 0.0 for d in drifted(asking, look.settings)}
    for prober in asking:
        who, key = {"address": prober.address, "question": prober.question}, (prober.address, prober.question)
        sheet.gauge(
            "ft_balancer_drifted", "1: it asks in another interval than the settings want.", key in drift, **who
        )
        apart_s = drift.get(key, 0.0)
        sheet.gauge("ft_balancer_drift_seconds", "So much before the pair it will switch; < 0: after.", apart_s, **who)


def _switches(sheet: Sheet, look: Look) -> None:
    running = look.documents["switch"]
    if look.record is not None:
        runs = running.get("outcome") == "running" and running.get("boot_id") == look.boot_id
        sheet.gauge("ft_switch_running", "1: a switch runs on this server.", runs)
    if look.switches is None:
        return
    ended = {("promote", rule, outcome): 0 for rule in PROMOTING for outcome in ("done", "failed", "aborted")}
    ended |= {("demote", rule, outcome): 0 for rule in DEMOTING for outcome in ("done", "failed")}
    help_text = "Switches of this server that have ended, by what they did, the rule and the outcome."
    for (kind, rule, outcome), times in sorted({**ended, **look.switches.ended}.items()):
        sheet.counter("ft_switches_total", help_text, times, kind=kind, rule=rule, outcome=outcome)
    at_s = look.switches.promoted_wall_s
    sheet.gauge("ft_last_promotion_timestamp_seconds", "When this server last became active.", at_s)


def _sums(sheet: Sheet, look: Look) -> None:
    for cause, times in sorted(look.refused.items()):
        sheet.counter("ft_refused_messages_total", "Messages that were refused, by cause.", times, cause=cause)
    if not look.documents[DOCUMENT]:
        return  # Redis was wiped, until the agent writes again: told as 0 it would be counted twice
    tally = Tally.of_json(look.documents[DOCUMENT])
    sheet.counter("ft_heartbeats_total", "Heartbeats of this server's agent.", tally.ticks)
    for cause, times in sorted({"ok": 0, **tally.probes}.items()):
        sheet.counter("ft_probes_total", "Probes of the other server by their result.", times, cause=cause)
    took = "How long good probes of the other server took."
    sheet.histogram("ft_probe_latency_seconds", took, BOUNDS_S, tally.buckets, tally.latency_sum_s)
    none = (
        "Seconds in which this server was not active and the other one signed that it is not (signed), or was silent."
    )
    for share in (Share.NONE_SIGNED, Share.NONE_SILENT):
        sheet.counter("ft_none_active_seconds_total", none, tally.seconds[share], evidence=str(share))
    two = "Seconds in which this server was active and heard the other one say the same."
    sheet.counter("ft_two_active_seconds_total", two, tally.seconds[Share.TWO])
