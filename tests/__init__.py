from . import (
    test_consequences,
    test_device,
    test_drain,
    test_fold,
    test_links,
    test_match,
    test_outbox,
    test_parsing,
    test_signature,
    test_smtpapi,
    test_ui,
    test_webhook,
)
