"""Telling people: failures grouped so that the same one is told once, what a message says, chats, the daily digest."""
