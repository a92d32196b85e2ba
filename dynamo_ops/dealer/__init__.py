"""Dealer: which copies are made in one cycle of one partition (SEMANTICS §4)."""
