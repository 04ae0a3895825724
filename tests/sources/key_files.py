"""Keys that are made for a test: of a service account, and of a server that speaks TLS."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


def key_file(path, token_uri):
    """A service account's key, freshly made."""
    text = _pem(_key())
    account = {"type": "service_account", "client_email": "me@demo.example", "private_key": text}
    path.write_text(json.dumps({**account, "token_uri": token_uri, "project_id": "demo"}))
    return text


def certificate(folder, host):
    """A file with the key and the certificate of a host, which vouches for itself: who trusts it trusts the host."""
    key, name = _key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = folder / f"{host}.pem"
    path.write_bytes(_pem(key).encode() + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def _key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
