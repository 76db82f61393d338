"""One file a form: the rules of an engine for where Q and DQ stand."""
