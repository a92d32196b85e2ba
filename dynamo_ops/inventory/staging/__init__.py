"""What sources reported and nobody has merged yet: pulled rows, their acceptance by a gate, their end.

Call: ``pull`` (stage datasets, details, sites, accesses; what a gate accepted), ``merging`` (one merge at a time; what
an upsert inserted and changed), ``expiry`` (old rows go by themselves).
"""
