"""Gates: nothing that a source told, and no plan, has an effect before its expectations hold.

The expectations are run by Great Expectations; what each means, and what it says when it fails, is written in
``suites``, one module a gate; how much is too much is in ``gates.yaml`` (``thresholds``).
"""
