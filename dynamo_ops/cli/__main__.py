"""``python -m dynamo_ops.cli``: the same as the command ``dynamo``."""

from dynamo_ops.cli.main import run

run()
