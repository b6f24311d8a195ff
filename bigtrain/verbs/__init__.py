"""What a person can ask of an experiment, one file each."""
