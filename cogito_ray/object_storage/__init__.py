"""A storage that is a URL, of objects: what lies there, a folder on this machine for it, its ledgers, who drives."""
