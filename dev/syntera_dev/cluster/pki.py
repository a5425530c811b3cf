"""Certificates of a development cluster: one authority per cluster, made anew with each, never trusted by anything else.

Keys are ECDSA P-256, except the service accounts': their tokens are signed with RSA, which is what clusters in use do.
"""

import datetime
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from syntera_dev.paths import write_atomically

_LIFETIME = datetime.timedelta(days=3650)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority kept as `<name>.crt` and `<name>.key`; it signs what the folder lacks and keeps what it has."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        """Load the authority, or make it when the folder has none."""
        self.folder = folder
        self.certificate_file, self.key_file = folder / f"{name}.crt", folder / f"{name}.key"
        if not self.certificate_file.exists():
            pair = _self_signed(f"syntera-dev-{name}")
            write_atomically(self.key_file, pair.key, mode=0o600)
            write_atomically(self.certificate_file, pair.certificate)
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        key = serialization.load_pem_private_key(self.key_file.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM."""
        return self.certificate_file.read_bytes()

    def client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """Sign a client certificate: Kubernetes reads the user from the common name, groups from the organisations."""
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._sign(subject, ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, name: str, alternatives: Sequence[str]) -> KeyPair:
        """Sign a serving certificate for host names and IP addresses."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._sign(subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client_files(self, file_name: str, user: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """Return the files of a client certificate in the authority's folder, signed on first use."""
        return self._files(file_name, lambda: self.client(user, groups))

    def server_files(self, file_name: str, alternatives: Sequence[str]) -> tuple[Path, Path]:
        """Return the files of a serving certificate in the authority's folder, signed on first use."""
        return self._files(file_name, lambda: self.server(file_name, alternatives))

    def _files(self, file_name: str, sign: Callable[[], KeyPair]) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{file_name}.crt", self.folder / f"{file_name}.key"
        if not certificate.exists():
            pair = sign()
            write_atomically(key, pair.key, mode=0o600)
            write_atomically(certificate, pair.certificate)
        return certificate, key

    def _sign(self, subject: x509.Name, usage: x509.ObjectIdentifier, alternatives: Sequence[str] = ()) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternatives:
            names = x509.SubjectAlternativeName([_general_name(name) for name in alternatives])
            builder = builder.add_extension(names, critical=False)
        return KeyPair(_pem(builder.sign(self._key, hashes.SHA256())), _pem_key(key))


def service_account_keys(folder: Path) -> tuple[Path, Path]:
    """Return the files of the public and the private key for service account tokens, made on first use."""
    public, private = folder / "service-accounts.pub", folder / "service-accounts.key"
    if not public.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_atomically(private, _pem_key(key), mode=0o600)
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        write_atomically(public, key.public_key().public_bytes(serialization.Encoding.PEM, info))
    return public, private


def _self_signed(common_name: str) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_pem(builder.sign(key, hashes.SHA256())), _pem_key(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
