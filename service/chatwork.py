"""Chatwork: queue the syncs, look at the rooms and their messages, take a room in or out."""
ENDPOINTS = ()
