"""What the commands in `script/` share. Everything up to the virtual environment is standard library only."""
