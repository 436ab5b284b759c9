"""Untrusted models: read as config and weights only, in a child process without write access, by an allow-list.

`allowed` is the list, `check_config` checks a config against it, `decode` reads files without running anything in them,
`assemble` makes the model of what was read, `child` first does all of that in a process of its own, `trial` calls it.
"""
