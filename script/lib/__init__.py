"""Modules that the commands in `script/` share.

Those that run before the virtual environment exists use the standard library only.
"""
