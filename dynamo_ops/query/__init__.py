"""Reads that CLI, pages and reports share. Nothing here changes anything.

Call: ``status`` (subscriptions in figures), ``explanation`` (why a subscription stands where it
stands, and where a file is).
"""
