"""How much work a change costs. Counters are exact and compared with ``expected.json``; times are for reading."""
