"""``dynamo …``: the same functions as the DAGs and the pages call, for a shell. No SQL, no logic.

``main`` is the entry, ``nouns`` the list of commands, each imported when it is called (``reference``: the page of all
of them): ``decision`` (policy, detox, dealer, plan, history), ``catalogue`` (inventory, dataset, inject, invalidate,
site, group, quota), ``people`` (request, lock, access, token, audit, event), ``machine`` (init, config, db, airflow,
login), and transfers, series, pause, gate, digest here. ``terminal`` prints; ``here`` and ``afar`` ask.
"""
