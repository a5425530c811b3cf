"""Where the runtime may connect to on behalf of a URL that somebody else has written: rules without any I/O."""
