"""Site consistency: what a storage holds against what the inventory says it holds (SEMANTICS §7).

One function a task in ``tasks``: start → ``inventory_list`` → ``storage_list`` → ``compare`` → ``breakers`` (what is
too much, or too short, to be true) → ``repair``. The room ``matching`` writes lists and finds what differs between
them, ``tally`` counts all their lines by the rules. What they rest on: the ``previous`` checks of the site,
``clocks`` that agree, the ``freshness`` of metadata. ``settings`` by site, ``patterns`` of what is left out.
``retention``: checks that are long over go.
"""
