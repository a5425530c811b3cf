"""What is shown of things, as JSON: by the API in its answers and events, and to webhooks."""
