"""What every command shares: where output goes, tables and JSON, progress, options, documents from files."""
