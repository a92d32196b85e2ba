"""What there is and where: ``data``, ``files``, ``sites``, ``groups``, ``locks``, and how much in all (``usage``)."""
