"""Controllers against what they control: real agents, a real supervisord, real daemons."""
