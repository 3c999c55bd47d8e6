"""What the log does when the disk, the machine or another process fails it."""
