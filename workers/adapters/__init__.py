"""The real adapters behind the ports of ``workers/ports.py``. Empty: the guard imports only what it needs."""
