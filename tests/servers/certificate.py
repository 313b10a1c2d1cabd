"""Certificates for servers on loopback, made at need."""

from __future__ import annotations

import datetime as dt
import ipaddress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, days: int, name: str = "127.0.0.1") -> tuple[str, str]:
    """A self-signed certificate that ends in so many days: key file and certificate file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospital")])
    now = datetime.now(UTC)
    address = name[0].isdigit()
    alt = x509.IPAddress(ipaddress.ip_address(name)) if address else x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alt]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "tls.key", folder / "tls.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(private), str(public)
