"""Errands: what somebody asked for over REST that is too heavy for a request, and a run of a DAG does.

Call: ``states`` (kinds, and what becomes of them), ``store`` (asked, taken, ended, forgotten), ``carry``
(``carry_out``: all that wait); ``commit`` (of a plan), ``document`` (a large injection or invalidation),
``trial`` (of a policy that is not installed).
"""
