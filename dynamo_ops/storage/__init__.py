"""How a site's storage is spoken to: one module a protocol, each an entry point in ``dynamo_ops.storages``.

Call: ``connect.site_storages`` (site id → its storage), ``protocol`` (what a plugin implements), ``registry`` (which
plugin, which endpoint). Files are named by LFN here; ``inventory.site.mapping`` makes the physical name.
"""
