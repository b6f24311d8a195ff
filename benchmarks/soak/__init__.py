"""What must hold a thousand times: each script repeats one thing, and prints its count."""
