"""Dynamo's pages, for people: at /dynamo/ui, and in Airflow's frame. They read what REST reads, and change nothing but
through REST.

``app``: the app of all pages; who is not logged in is sent to Airflow's login. A module a page or some: ``today``,
``data``, ``requested``, ``plans``, ``transfers`` (deletions, too), ``sites``, ``groups`` (and the inventory),
``records`` (locks, gates, the audit); ``search``. What they are made of: ``part``; what they look like: ``templates``,
``assets``.
"""
