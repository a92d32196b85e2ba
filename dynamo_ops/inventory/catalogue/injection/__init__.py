"""A document of a person into the inventory: read, checked as a whole, written in one transaction or not at all.

Call: ``inject.inject``. ``document`` is what it may say, ``checks`` what is refused and at which path, ``writes`` the
SQL. Docs: docs/injection.md.
"""
