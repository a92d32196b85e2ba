"""Tests of policies, written by data managers: given facts → expected decision and policy line.

Call: ``run.read_policy_test``, ``run.run_policy_test``; ``facts`` says what a test may state, ``inventory`` makes an
inventory of it.
"""
