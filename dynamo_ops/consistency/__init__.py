"""Site consistency: what a storage holds against what the inventory says it holds (SEMANTICS §7).

One function a task in ``tasks``: start → ``inventory_list`` → ``storage_list`` → ``compare`` (pure) → ``breakers``
(what is too much to be true) → ``repair``. ``settings`` by site.
"""
