"""The peers. Each module runs in an environment of its own (bench/environments.py) and speaks as `bench/measure.py` says."""
