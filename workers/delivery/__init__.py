"""How a job that waits reaches a worker.

arq_loop.py    arq's worker as our claim loop
enqueue.py     the one way to queue jobs, whoever asks
redis_wire.py  the wire over Redis, in arq's own keys
tick.py        delivery
wire.py        the wire carries hints to workers
"""
