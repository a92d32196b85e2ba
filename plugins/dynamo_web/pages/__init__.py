"""Dynamo's pages, for people: at /dynamo/ui, and in Airflow's frame. They read what REST reads, and change nothing but
through REST.

``app``: the app of all pages; who is not logged in is sent to Airflow's login. A module a page or some: ``today``,
``search``, ``data``, ``files``, ``requested``, ``plans`` (``decisions``: row by row, and how two differ; ``trials``:
what if, and errands), ``transfers`` (deletions, too; ``queued``: as lists), ``sites``, ``groups`` (and the inventory),
``records`` (locks, gates, the audit), ``runs`` (the tab of a run). What they are made of: ``part``; what they look
like: ``templates``, ``assets``.
"""
