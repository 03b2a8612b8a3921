"""SendGrid's v3 API, as far as it is used. README.md lists the operations; `gate.py` stands before all of them."""
