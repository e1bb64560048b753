"""The real adapters behind the ports of ``workers/ports.py``. Empty on purpose: the guard imports only what it needs."""
