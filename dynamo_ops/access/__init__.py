"""Who somebody is and what they may.

Call: ``person`` (a person, their grants and scopes), ``actions`` (``may``: the one table of rights).
"""
