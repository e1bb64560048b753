"""Alerts: what an administrator is told by mail, chat, webhook or SNMP trap.

``causes`` what is told; ``incidents`` when, and once for each; ``facts`` how a tick and this node's documents become facts;
``outbox`` what waits for which target, and when it is tried again; ``child`` starts one short-lived process for each delivery
(``python -m ftplugin.alerts send``), which alone loads Apprise or pysnmp. ``workers/alerting.py`` strings them together.
"""
