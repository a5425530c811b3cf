"""The HTTP border: schemas in and out, authentication, problems. It decides nothing that a use case should decide."""
