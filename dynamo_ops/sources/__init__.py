"""What other services tell about datasets, blocks, files and sites: pulled into frames, believed by nobody yet.

A source only translates. Whether its answer can be right is for the gate to judge (``dynamo_ops.quality``); a source
raises SourceDataError only for what has no place in a frame: broken JSON, a text where a number belongs, a status that
no one defined.
"""
