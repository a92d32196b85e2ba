"""Detox: which replicas are deleted in one cycle of one partition (SEMANTICS §3)."""
