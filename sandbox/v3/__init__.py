"""SendGrid's v3 API, as far as we use it. README.md lists the operations; every call passes `gate.py`."""
