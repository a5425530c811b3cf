"""A stand-in for a forwarded port, where the API can be reached as it is."""

from syntera_cli.connections import FixedUrl


def fake_forwarded_port(url: str, *, namespace: str) -> type[FixedUrl]:
    """In place of `ForwardedPort`, for that namespace in the current context alone."""

    class FakeForwardedPort(FixedUrl):
        def __init__(self, wanted: str, *, context: str | None) -> None:
            assert (wanted, context) == (namespace, None)
            super().__init__(url)

        def __enter__(self) -> "FakeForwardedPort":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return FakeForwardedPort
