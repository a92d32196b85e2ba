"""Site consistency: what a storage holds against what the inventory says it holds (SEMANTICS §7).

One function a task in ``tasks``: start → list the inventory → list the storage → compare → gate → repair.
``compare`` is pure, ``breakers`` stop what is too much to be true.
"""
