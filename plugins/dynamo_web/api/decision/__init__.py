"""What is decided: ``asking`` (for copies and deletions), ``requested`` (what was asked), ``plans``, ``verdicts``
(about plans), ``history`` (what they did), ``trials`` (of policies), ``policies``."""
