"""The policy language: text → checked tree (``language``) → columns (``evaluation``) → decisions; ``linter`` reads
along.

Call: ``language.check.load_policy``, ``partition.load_partitions``, ``evaluation.evaluate.Evaluator``,
``linter.lint``, ``files`` (where an installation keeps its texts), ``notice`` (what is to be said about
one), ``usage`` (how full partitions are), ``quota`` (setting those of partitions).
"""
