"""What was noted: ``checks`` (of storages, gates, sources), ``audit``, ``digest``."""
