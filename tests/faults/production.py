"""What `docs/deploy.md` shows, at work: two Odoo servers on the same two databases, behind nginx with https.

The configurations are taken from the document. Only names, addresses and places are replaced, each of which has to be
there: so the tests run what people copy.
"""

import configparser
import contextlib
import datetime
import os
import re
import socket
from collections import namedtuple
from pathlib import Path
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import Database, Webhook

from script.lib import database as databases
from script.lib import nginx, paths, process
from script.lib import stack as stacks

DOCUMENT = paths.ROOT / "docs" / "deploy.md"
HOSTS = ("sales.example.com", "shop.example.com")
SERVERS = ("10.0.0.11", "10.0.0.12")
DOMAIN = "example.com"
# What the document's nginx.conf lies in. Nothing of it concerns what passes through.
AROUND = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
http {{
    access_log {folder}/nginx-access.log;
    client_body_temp_path {folder}/temp-body;
    proxy_temp_path {folder}/temp-proxy;
    fastcgi_temp_path {folder}/temp-fastcgi;
    uwsgi_temp_path {folder}/temp-uwsgi;
    scgi_temp_path {folder}/temp-scgi;
    include {folder}/site.conf;
}}
"""
# Which session works off events: while it does, it holds `REST_LOCK` of models/sendgrid_drain.py.
DRAINING = """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND objid = 4018501739 AND granted AND datname = %s
"""
# On a fresh database all of Odoo's own actions are due at once, and the digest alone works for minutes.
ONLY_OURS = """
    UPDATE ir_cron SET active = FALSE
     WHERE id NOT IN (SELECT res_id FROM ir_model_data WHERE model = 'ir.cron' AND module = 'sendgrid_tracking')
"""

ESTABLISHED = "01"  # in /proc/net/tcp

Site = namedtuple("Site", "url database")


def read_block(language):
    """Return the document's block of code in this language."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return block


def replace(text, values):
    """Replace words of the document; each has to be there."""
    for word, value in values.items():
        assert word in text, f"{word} is not in {DOCUMENT.name}"
        text = text.replace(word, str(value))
    return text


class Proxy(process.Server):
    """The document's nginx, on free ports, in front of the servers of two databases."""

    def __init__(self, servers, names, folder):
        self.port, self.plain_port = process.free_port(), process.free_port()
        self.access_log = folder / "nginx-access.log"
        self.sites = [Site(f"https://{name}.{DOMAIN}:{self.port}", name) for name in names]
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        make_certificate(self.certificate, key, [f"{name}.{DOMAIN}" for name in names])
        values = dict(zip(HOSTS, (f"{name}.{DOMAIN}" for name in names), strict=True))
        for address, server in zip(SERVERS, servers, strict=True):
            values[f"{address}:8069"] = f"127.0.0.1:{server.port}"
            values[f"{address}:8072"] = f"127.0.0.1:{server.gevent_port}"
        values["listen 80;"] = f"listen 127.0.0.1:{self.plain_port};"
        values["listen 443 ssl;"] = f"listen 127.0.0.1:{self.port} ssl;"
        values["/etc/ssl/certs/odoo.pem"] = self.certificate
        values["/etc/ssl/private/odoo.key"] = key
        (folder / "site.conf").write_text(replace(read_block("nginx"), values))
        conf = folder / "nginx.conf"
        conf.write_text(AROUND.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""))
        command = [nginx.path(), "-p", folder, "-c", conf]
        super().__init__("nginx", command, folder / "nginx.log", f"{self.sites[0].url}/web/health", folder)


def make_certificate(certificate, key, hosts):
    """Write a certificate that signs itself, and its key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(secret, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@contextlib.contextmanager
def hosts_at_home(certificate):
    """Have this process find the hosts of our domain on this machine, and trust the certificate."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **options):
        return resolve("127.0.0.1" if str(host).endswith(f".{DOMAIN}") else host, *args, **options)

    trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(certificate))
    with patch("socket.getaddrinfo", getaddrinfo), patch.dict(os.environ, trusted):
        yield


def write_config(names, address, target):
    """Write the document's configuration of Odoo for a server, which gets its ports by options."""
    config = configparser.RawConfigParser()
    config.read_string(replace(read_block("ini"), {SERVERS[0]: address}))
    own = {"addons_path": str(paths.ADDONS), "data_dir": str(paths.DATA), "db_name": ",".join(names)}
    assert set(own) <= set(config["options"])
    config["options"].update(own)
    with open(target, "w") as file:
        config.write(file)
    return target


def count_connections(port):
    """Return how many TCP connections to a port of this machine are open (on Linux)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == ESTABLISHED for line in lines)


class Production:
    """Two servers, the proxy in front of them, and the databases behind them."""

    def __init__(self, names, folder, options=()):
        config = write_config(names, "127.0.0.1", folder / "odoo.conf")
        self.servers = [
            stacks.Odoo(name, process.free_port(), folder / f"odoo-{number}.log", options=options, config=config)
            for number, name in enumerate([names[0]] * 2, 1)
        ]
        self.proxy = Proxy(self.servers, names, folder)
        self.site, self.other_site = self.proxy.sites
        self.databases = [Database(name) for name in names]
        self.database = self.databases[0]
        self.webhook, self.other_webhook = (
            Webhook(f"{site.url}/sendgrid/webhook/{database.value('SELECT webhook_token FROM sendgrid_account')}")
            for site, database in zip(self.proxy.sites, self.databases, strict=True)
        )

    @contextlib.contextmanager
    def running(self):
        """Start all, and kill all in the end."""
        with hosts_at_home(self.proxy.certificate):
            try:
                for server in self.servers:
                    server.launch()
                for server in (*self.servers, self.proxy.launch()):
                    server.wait()
                yield self
            finally:
                for server in (self.proxy, *self.servers):
                    server.kill()

    def draining(self):
        """Return the server that works off the first database's events at this moment, or None."""
        for (name,) in self.database.query(DRAINING, self.database.name):
            if server := self._server_of(int(name.removeprefix("odoo-"))):
                return server
        return None

    def server_of_websocket(self):
        """Return the server to which the proxy has led the only websocket."""
        [server] = [server for server in self.servers if count_connections(server.gevent_port)]
        return server

    def _server_of(self, pid):
        with contextlib.suppress(ProcessLookupError):
            return next((one for one in self.servers if one.running() and one.process.pid == os.getpgid(pid)), None)

    def pending(self):
        """Tell how many batches of the first database wait."""
        return self.database.value("SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending'")


@contextlib.contextmanager
def running(options=()):
    """Run all of it on two databases of its own."""
    with databases.for_tests() as first, databases.for_tests() as second:
        folder = paths.LOG / first
        folder.mkdir(exist_ok=True)
        for name in (first, second):
            stacks.configure(name, *(process.free_port() for _ in range(3)))
            Database(name).query(ONLY_OURS)
            # Both were copied from one database; installing gives each a secret of its own.
            query = "UPDATE ir_config_parameter SET value = %s WHERE key = 'database.secret'"
            Database(name).query(query, f"secret-{name}")
        production = Production((first, second), folder, options)
        for site, database in zip(production.proxy.sites, production.databases, strict=True):
            query = "UPDATE ir_config_parameter SET value = %s WHERE key = 'web.base.url'"
            database.query(query, site.url)
        with production.running():
            yield production
