"""Reads that the CLI and reports share, and REST and pages will. Nothing here changes anything.

Call: ``status`` (subscriptions in figures), ``explanation`` (why a subscription stands where it
stands, and where a file is), ``waiting`` (why the parts of a request wait), ``names`` (for a shell that completes
them).
"""
