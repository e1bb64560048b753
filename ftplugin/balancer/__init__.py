"""Configurations for load balancers from the settings, the way back, and who asks the monitor (spec 3, guide 4 and 5).

plan.py      what every balancer has to know, checked once
haproxy.py, keepalived.py, nginx.py, f5.py, nlb.py    one kind each: Plan -> files
exports.py   the list of them
reading.py   a file back; compare.py: where it differs from the settings
probers.py   who asks the monitor, and how often
"""
