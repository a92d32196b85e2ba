"""Site consistency: what a storage holds against what the inventory says it holds (SEMANTICS §7).

``checks`` offers one function a task: start → inventory list → storage list → compare → repair.
"""
