"""A deterministic simulation of store, worker, delivery and rescue: the real code on virtual time, its world made of faults."""
