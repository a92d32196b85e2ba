"""File operations: wishes at file level (subscriptions), and the transfers and deletions that fulfil them.

``states`` says which moves are legal, ``subscribe`` makes wishes, ``transfers`` and ``deletions`` offer one function a
task, ``fts`` and ``storage`` speak to the services outside.
"""
