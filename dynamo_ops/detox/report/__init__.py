"""Plans of Detox for people: described, explained replica by replica, compared, written to files.

Call: ``stored`` (plans of the database), ``describe``, ``explain``, ``difference``, ``decisions_file``. Changes
nothing.
"""
