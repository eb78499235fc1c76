"""The benchmarks: ours and the peers side by side in one run, against real servers with fsync on. `python -m bench --help`."""
