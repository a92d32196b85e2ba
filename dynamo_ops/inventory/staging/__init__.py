"""What sources reported and nobody has merged yet: pulled rows, their acceptance by a gate, their end.

Call: ``pull`` (stage datasets, details, sites, accesses; what a gate accepted), ``faults`` (datasets with a bad record,
which are left out and asked for again), ``expiry`` (old rows go by themselves).
"""
