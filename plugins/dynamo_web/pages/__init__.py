"""Dynamo's pages, for people: at /dynamo/ui, and in Airflow's frame. They read what REST reads, and change nothing but
through REST.

``app``: the app of all pages; who is not logged in is sent to Airflow's login. ``today`` and ``search`` are where one
begins; the others lie in rooms that are called as those of REST: ``inventory``, ``decision``, ``movement``, ``record``.
What they are made of: ``part``; what they look like: ``templates``, ``assets``.
"""
