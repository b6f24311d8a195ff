"""What must hold a thousand times: each script does one thing over and over, and prints its count."""
