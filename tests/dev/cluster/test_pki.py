from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from syntera_dev.cluster.pki import Authority, service_account_keys


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_client_certificate_names_user_and_groups(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.client("ann", ["dev", "ops"]).certificate)
    names = {each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    groups = {each.value for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    assert (names, groups) == ({"ann"}, {"dev", "ops"})


def test_server_certificate_holds_names_and_addresses(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.server("api", ["api.example", "10.96.0.1"]).certificate)
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["api.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.96.0.1"]


def test_certificates_are_signed_by_the_authority(authority: Authority) -> None:
    signer = x509.load_pem_x509_certificate(authority.certificate)
    x509.load_pem_x509_certificate(authority.client("ann").certificate).verify_directly_issued_by(signer)


def test_authority_and_files_are_kept(authority: Authority, tmp_path: Path) -> None:
    files = authority.client_files("ann", "ann")
    before = [file.read_bytes() for file in files]
    again = Authority(tmp_path)
    assert again.certificate == authority.certificate
    assert [file.read_bytes() for file in again.client_files("ann", "ann")] == before


def test_private_keys_are_readable_by_the_owner_alone(authority: Authority, tmp_path: Path) -> None:
    authority.client_files("ann", "ann")
    service_account_keys(tmp_path)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.key")} == {0o600}
