"""How many tokens a text has, roughly: for endpoints that do not say, and for windows of history."""

from collections.abc import Iterable, Sequence

from .exchange import ModelMessage
from .files import MOST_IMAGES, MOST_TEXT, PLAIN_TEXT, Attachment
from .turns import BegunTurn

BYTES_OF_A_TOKEN = 3
"""UTF-8 bytes of text that are taken for one token, rather too few than too many. Measured with OpenAI's tokenizers on service
talk in 13 languages: `o200k_base` (GPT-4o and later) has 3.0 bytes a token in Polish, 4.0 in Chinese, 4.5 in English and German,
6 to 8 in Russian, Arabic and Hindi. Of the older `cl100k_base` it is too few in Greek (2.1), Polish, Arabic, Hindi, Chinese
(2.6 each) and Korean (2.8). Both need more for rows of digits (1.7) and emoji."""
TOKENS_AROUND_A_MESSAGE = 4
"""What tells a message's role and where it ends; OpenAI's own formula has 3, and 3 more before the answer."""

TOKENS_OF_AN_IMAGE = 1500
"""What an image is taken for, whatever its size. By what the vendors say of their models, a small one takes some hundred, a large one
1,100 to 2,500."""


def estimate_tokens(text: str) -> int:
    """The tokens of a text."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_OF_A_TOKEN)


def estimate_prompt(contents: Iterable[str]) -> int:
    """The tokens of a prompt of messages with these contents."""
    return sum(estimate_tokens(content) + TOKENS_AROUND_A_MESSAGE for content in contents)


def estimate_files(files: Iterable[Attachment], *, with_images: bool) -> int:
    """The tokens of what one prompt holds of these files, which were not read yet."""
    listed = list(files)
    images = sum(file.is_image for file in listed) if with_images else 0
    text = sum(file.size for file in listed if file.media_type == PLAIN_TEXT)
    return min(images, MOST_IMAGES) * TOKENS_OF_AN_IMAGE + -(-min(text, MOST_TEXT) // BYTES_OF_A_TOKEN)


def estimate_messages(messages: Sequence[ModelMessage], *, with_images: bool) -> int:
    """The tokens of a prompt, with its images and the files that were not read yet."""
    images = sum(len(message.images) for message in messages) if with_images else 0
    files = [file for message in messages for file in message.files]
    return (
        estimate_prompt(message.content for message in messages)
        + estimate_files(files, with_images=with_images)
        + images * TOKENS_OF_AN_IMAGE
    )


def estimate_read(begun: BegunTurn, *, with_images: bool) -> int:
    """The tokens of what a store reads for a turn: the messages before with their files, and the files of the question."""
    messages = (*begun.history, begun.user_message)
    files = [file for message in messages for file in message.attachments]
    return estimate_prompt(message.content for message in begun.history) + estimate_files(
        files, with_images=with_images
    )
