"""The command line: `python -m sandbox`."""

import argparse
import asyncio
import logging
import sys

from sandbox import keys
from sandbox.server import Settings, serve


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox until it is stopped; return the exit code, which is 1 if it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local SendGrid.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--smtp-port", type=int, default=2525, help="0 chooses a free one (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8025, help="0 chooses a free one (default %(default)s)")
    parser.add_argument("--private-key", metavar="PEM", help="P-256 key file, made if missing (default: none is kept)")
    parser.add_argument("--api-key", default="SG.sandbox", help="password of SMTP user apikey (default %(default)s)")
    parser.add_argument("--webhook-url", metavar="URL", help="where events are posted")
    parser.add_argument("--connected", action="store_true", help="show --webhook-url among the webhooks of the API")
    parser.add_argument("--flush-seconds", type=float, default=0.2, help="wait before a POST (default %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        key = keys.load_or_create(options.private_key)
        asyncio.run(
            serve(
                Settings(
                    host=options.host,
                    smtp_port=options.smtp_port,
                    http_port=options.http_port,
                    api_key=options.api_key,
                    key=key,
                    webhook_url=options.webhook_url,
                    connected=options.connected,
                    flush_seconds=options.flush_seconds,
                )
            )
        )
    except (OSError, OverflowError, keys.KeyFileError) as error:
        print(f"sandbox: cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
