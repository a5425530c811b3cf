"""Where people read a file of a repository, for hosts whose pages are known."""

from urllib.parse import quote

from yarl import URL


def file_url(repository: str, ref: str, path: str) -> str | None:
    """The page of a file.

    Args:
        repository: Its URL for git.
        ref: Branch, tag or commit.

    Returns:
        None: nobody knows which page that is.
    """
    url = URL(repository)
    host = url.host or ""
    base = f"{url.origin()}{url.raw_path.rstrip('/').removesuffix('.git')}"
    at, file = quote(ref, safe="/"), quote(path, safe="/")
    if host == "github.com":
        return f"{base}/blob/{at}/{file}"
    if host == "bitbucket.org":
        return f"{base}/src/{at}/{file}"
    if "gitlab" in host.split("."):
        return f"{base}/-/blob/{at}/{file}"
    return None
