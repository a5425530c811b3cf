"""Telling endpoints of others what has changed, signed as Standard Webhooks (https://www.standardwebhooks.com) says."""
