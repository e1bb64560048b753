"""Adapters and guard against real sockets, Redis processes and commands."""
