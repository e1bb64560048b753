"""``make bench``: measures what the project promises about speed, and writes docs/benchmarks.md."""
