"""History: what both nodes' durable records say about each switch.

Pure, without I/O, clock or framework: ``records`` reads one node's document, ``clocks`` puts both nodes' times on one
clock, ``activity`` measures how long nobody and how long both were active, ``story`` makes incidents of it,
``export`` writes JSON and CSV.
Not pure: ``source`` reads the own database and asks the peer, ``merge`` puts both logs together, ``query`` reads what is asked.
A figure that the records do not carry is "not known", never a guess. Import the modules: a worker needs ``records`` alone.
"""
