from syntera_dev.images.pip_settings import render_pip_settings


def test_only_the_way_to_packages_is_carried() -> None:
    listing = """\
:env:.index-url='https://packages.example/simple'
:env:.target='/somewhere'
global.cert='/etc/ssl/certs/ca-certificates.crt'
install.no-binary=':all:'
"""
    assert render_pip_settings(listing) == (
        "[global]\nindex-url = https://packages.example/simple\ncert = /etc/ssl/certs/ca-certificates.crt\n"
    )


def test_no_settings_make_an_empty_configuration() -> None:
    assert render_pip_settings("") == "[global]\n"


def test_quoted_values_are_read_as_python_writes_them() -> None:
    assert "proxy = http://o'neill@proxy.example" in render_pip_settings(
        """global.proxy="http://o'neill@proxy.example"\n"""
    )
