"""A small Chatwork server on this machine, for development, the demo and the tests.

server.py     `Sandbox`: the routes, the rooms, the request limit, and faults on demand
http1.py      reads HTTP/1.1 requests and writes answers
data.py       reads the rooms from a file
rooms.ndjson  forty rooms of business conversations, the default data
"""

from workers.chatwork.sandbox.server import Held, Sandbox

__all__ = ["Held", "Sandbox"]
