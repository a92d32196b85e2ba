"""Plans of the Dealer for people: described, explained, written to files, tried without an installation.

Call: ``describe``, ``explain``, ``enforcer_report``, ``checks_file``, ``trial``. Changes nothing.
"""
