"""Telling people: failures grouped so that the same one is told once, what a message says, chats, the daily digest.

What a failure says (mail and chat alike): ``message``, laid out by the folder ``templates`` (``template``). Who is told
again and when: ``alert``. What is ill as a whole (sites, links, our credential): ``illness``. ``webhook`` and mail
send. The digest: ``digest`` (``digest_sql``, ``digest_text``).
"""
