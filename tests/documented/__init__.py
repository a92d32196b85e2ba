"""Every block of the documentation has a kind, and is run or read as that kind is (``pages.KINDS``)."""
