"""How a site's storage is spoken to. A new protocol: one module, one entry point in ``dynamo_ops.storages``.

Call: ``connect.site_storages`` (site id → its storage), ``protocol`` (what a plugin implements), ``registry`` (which
plugin, which endpoint). Ours: ``webdav`` (``multistatus``, ``http_put``), ``xrootd`` (``proxy``), ``posix`` and ``s3``
(on ``filesystem``); shared: ``tree`` (listings), ``rate``. Files are named by LFN; ``inventory.site.mapping`` makes
names.
"""
