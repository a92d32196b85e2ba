"""Plans as data, of Detox and of the Dealer: what was read to decide, what was decided, and in which state it is.

Call: ``inputs`` (texts read once), ``store`` (save, load, approve, refuse, commit once).
"""
