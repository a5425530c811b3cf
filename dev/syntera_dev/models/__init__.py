"""An offline stand-in for a model endpoint: it speaks the OpenAI protocol and answers by rule, not by intelligence.

It lets the demo run without a key and gives tests a server whose answers, delays and failures they choose. Embeddings it makes
with a small real model, too, because no rule finds what a text means. It is never a part of an installation, keeps what it
received in memory (API keys included), and imports nothing of the product.
"""
