"""What was noted: ``checks`` (of storages, gates, sources), ``audit``, ``digest``, ``errands`` (what
runs do for those who asked)."""
