"""What people ask for: copies, and their answers."""
