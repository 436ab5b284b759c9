"""Models from anybody: read as config and weights only, in a child process without write access, by an allow-list.

`allowed` is the list, `check_config` holds a config against it, `decode` reads files without running anything in them,
`assemble` makes the model of what was read, `child` does all of that in a process of its own first, `trial` asks it.
"""
