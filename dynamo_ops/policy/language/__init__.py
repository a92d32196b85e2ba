"""Text → tree → checked tree, with line and column of every fault. Never sees a frame.

Call: ``check.load_policy`` and ``enforcement.load_rules``; ``variables`` declares each variable once (type, scope, doc
line) and ``reference`` prints them. On the way: ``source`` (text and places), ``parse`` (grammar), ``regex``.
"""
