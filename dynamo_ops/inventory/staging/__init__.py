"""What sources reported and nobody has merged yet: pulled rows, their acceptance by a gate, their end.

Call: ``pull`` (stage datasets, details, sites, accesses; what a gate accepted), ``expiry`` (old rows go by
themselves).
"""
