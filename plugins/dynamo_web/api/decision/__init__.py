"""What is decided: ``asking`` (for copies and deletions), ``requested`` (what was asked), ``plans``, ``verdicts``
(about plans), ``trials`` (of policies), ``policies``."""
