"""The recurrence and the time mix as Triton kernels for GPUs.

Only files here import Triton, and `compile_report`; nothing imports them before a tensor on a GPU
or a forced backend asks for them.
"""
