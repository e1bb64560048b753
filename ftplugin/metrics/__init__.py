"""``<prefix>/metrics`` for Prometheus (docs/metrics.md), on request: FT_METRICS_ALLOW.

No process keeps a metric. What is now is read from the node's Redis and database at each scrape, as the status page
does, so every process of the portal answers the same and none of prometheus-client's files is needed. What must add up
(probes, seconds with none active) is counted by the agent and published with the page's documents (``tally``).
"""
