"""What layers are built from."""
