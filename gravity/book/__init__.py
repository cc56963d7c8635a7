"""What chapters need around their content."""
