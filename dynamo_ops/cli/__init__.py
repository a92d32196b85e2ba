"""``dynamo …``: the same functions as the DAGs and the pages call, for a shell. No SQL, no logic.

``main`` puts the commands together: ``decision`` (policy, detox, dealer, plan, history), ``catalogue`` (inventory,
inject, invalidate, site, quota), ``people`` (request, lock), and transfers, gate, digest, db here. ``terminal`` prints.
"""
