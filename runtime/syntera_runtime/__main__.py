"""`python -m syntera_runtime`: the process of a tenant's runtime."""

from .main import main

if __name__ == "__main__":
    main()
