"""Use cases of files: take them, find out what they are, hand them out, remove what nobody needs. Through ports alone."""
