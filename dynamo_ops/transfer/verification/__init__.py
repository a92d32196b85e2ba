"""How copies are verified, where storages tell checksums and where they do not.

``ability`` says at which ends FTS compares the checksums of a copy, by what both storages can; ``ask`` finds out which
storages tell none; ``read_back`` reads a sample of what FTS could not compare at the destination. Docs:
docs/transfers.md.
"""
