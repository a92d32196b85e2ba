"""What every command shares: where output goes, tables, JSON, progress, options, documents (``document``)."""
