"""Stopping what Dynamo does: everything, a kind of act, a partition.

Call: ``pauses`` (``stop``, ``resume``, ``look``: every act looks before it does anything). ``pause`` is what one is.
"""
