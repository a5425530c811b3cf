"""Use cases of talking: conversations, turns, chat completions. They reach the outside world through ports alone."""
