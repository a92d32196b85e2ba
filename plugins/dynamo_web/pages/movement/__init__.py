"""What comes and goes: ``transfers`` and deletions as they stand, and as lists (``queued``)."""
