"""What the gates expect, one module for each kind of data."""
