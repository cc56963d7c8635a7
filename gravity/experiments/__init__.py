"""What one training run is, and how it is made and kept."""
