"""Runs a program written for pika 0.12 on a Python of today. Arguments: program, its arguments.

pika 0.12 asks for `collections.Callable`, which left its old place for `collections.abc` in Python
3.10; it is put back before the program starts. Nothing else about program or pika is touched.
"""

import collections
import collections.abc
import runpy
import sys

vars(collections).setdefault("Callable", collections.abc.Callable)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
