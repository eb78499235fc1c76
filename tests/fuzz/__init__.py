"""Fuzzing: hostile requests to the running service, and hostile inputs to each reader of what strangers send.

__main__.py              `python -m tests.fuzz --requests N` or `--inputs N`
inputs.py                runs the readers, and measures time and memory of each input
mutate.py                makes hostile inputs from examples
readers_of_requests.py   what an HTTP client sends: headers, bodies, queries, cursors
readers_of_servers.py    what others send: Chatwork, the model, Redis, addresses
test_fuzz.py             some hundred inputs for each reader in CI
"""
