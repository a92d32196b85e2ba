"""Random histories of a small installation, with storages that the tests alone know the bytes of.

``steps`` is what can happen, ``witness`` what must hold after each step, ``history`` runs and shrinks, ``old_faults``
are ways to lose data that were mended once, and must be noticed when they are put back. ``python -m tests.histories``
runs many; ``test_histories.py`` some.
"""
