"""Tests of policies, written by data managers: given facts → expected decision and policy line."""
