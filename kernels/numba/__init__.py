"""The recurrence and the time mix compiled for the CPU by numba, which only files here import."""
