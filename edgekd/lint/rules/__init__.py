"""The rules, a file a family; the folder is the registry."""
