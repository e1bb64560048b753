"""Where state lives (design 3): Redis for what may be lost, SQLAlchemy for what must last."""
