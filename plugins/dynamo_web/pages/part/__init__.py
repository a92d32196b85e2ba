"""What pages are made of: ``frame`` (what stands around each page), ``links`` (addresses of pages), ``cells`` (one
value as people read it), ``table`` and ``listed`` (lists: filter, next page, CSV), ``plot``, ``act`` (what can be
done)."""
