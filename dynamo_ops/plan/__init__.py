"""Plans as data, of Detox and of the Dealer: what was read to decide, what was decided, and in which state it is.

Call: ``inputs`` (texts and settings, read once and stored with the plan), ``store`` (save, load, commit once),
``verdict`` (who approves or refuses), ``story`` (what became of a plan), ``record`` (its frames, read again),
``history`` (what plans did), ``retention`` (files of old plans go), ``states``.
"""
