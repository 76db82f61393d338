"""One file a calibrator: from the values that were seen to a range."""
