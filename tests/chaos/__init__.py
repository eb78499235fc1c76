"""The campaign: real servers, real processes, real faults, and then the log is judged from outside."""
