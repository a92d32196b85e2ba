"""What a policy says and its author may not have meant: lines that never match, cover each other, or contradict.

Call: ``lint.lint``; every code is in docs/policy-language.md. ``cover`` and ``implication`` say what follows from what.
"""
